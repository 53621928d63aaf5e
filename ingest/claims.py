"""Text -> statements -> the claims that each makes, in one vocabulary.

In: report text, or one sentence. Out: `Statement`s of `Token`s: what is found and whether it is
denied, body parts, sides and other opposites, measures, words. Negation has a scope, as in NegEx
(Chapman et al. 2001): from the denying word to the next clause, or backwards for "is not seen".
What a clinician asked ("rule out bleed", the section of history) asserts nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from ingest import terms
from ingest.measures import marked


class Kind(StrEnum):
    FINDING = "finding"
    PART = "part"
    OPPOSITE = "opposite"
    MEASURE = "measure"
    LEVEL = "level"
    NORMAL = "normal"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Token:
    concept: str
    """Canonical name: `kidney`, `side:left`, `mm:21`, `level:l4-l5`, `normal`."""
    kind: Kind
    place: int
    """Number of the word; punctuation counts, so that clauses lie apart."""
    denied: bool
    written: str
    clause: int = 0
    """Number of the clause; what "with" or a comma adds is one of its own."""


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    tokens: tuple[Token, ...]
    context: frozenset[str] = frozenset()
    """Concepts of the label and of the sentence before it: what "it" may be."""
    asserted: bool = True
    denied: frozenset[int] = frozenset()
    """Places that a negation reaches."""
    label: str = ""
    """What stands before the colon of its paragraph."""
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)


SECTION = re.compile(
    r"(?:^|(?<=[.,;\n])|(?<=[.,;] ))[ \t,]*([A-Za-z][A-Za-z0-9 /&(),-]{1,70}?)[ \t]*:(?=[\s,]|[A-Z])"
)
ASKED = re.compile(
    r"^(?:clinical|history|indications?|reason|hx|symptoms|question|exam(?:ination)? reason)", re.I
)
TITLE = re.compile(
    r"^(?:findings?|impressions?|conclusions?|discussion|interpretation|techniques?|comparisons?|"
    r"exam(?:ination)?|procedure|report|opinion|summary|results?|technique and findings|comment|"
    r"recommendations?|addendum|findings and impression|protocol)\b", re.I
)  # fmt: skip
ITEM = re.compile(r"^[ \t]*(?:\(?\d{1,2}[.)](?!\d)|[a-z][.)]|[-*\u2022\u2013\u2023\u00b7])[ \t]*(?=\S)")
END = re.compile(r"[.!?;\u3002\uff01\uff1f]+(?=[\s,)\"']|$)|(?<=[.!?;]),(?=\S)|[\u3002\uff01]")
ABBREVIATED = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|prof|vs|approx|e\.g|i\.e|cf|fig|st|incl|vol|pt|al)|\b[a-z])$", re.I
)
FOLDED = {
    ord(a): b
    for a, b in zip("\u2010\u2011\u2012\u2013\u2014\u2212\u00d7\u2019\u201c\u201d*#_\u00ad\u200b",
                    ["-"] * 6 + ["x", "'", '"', '"', " ", " ", " ", "", ""], strict=True)
}  # fmt: skip
PREFIX = re.compile(
    r"\b(?:(non|extra|intra|peri|sub)[- ]|(post|pre|hyper|hypo|para|retro|inter|supra|infra|multi|"
    r"micro|un|anti|trans|circum|epi|endo)-)(?=[a-z]{3})"
)
PHRASES = [
    (word, re.compile(pattern), new)
    for word, pattern, new in (
        ("n't", r"n't\b", " not"),
        ("'s", r"'s\b", ""),
        ("w/o", r"\bw/o\b", "without"),
        ("with", r"\bwith(?:out)? (?:and|or) with(?:out)?\b", " "),
        ("chang", r"\b(?:no|without|not)(?: [a-z]+ly)?(?: (?:significant|appreciable|definite|major|"
         r"substantial|obvious|interval|other|new|gross))* (?:interval )?chang(?:e|ed|es)\b",
         "unchanged"),
        ("exclude", r"\b(?:cannot|can not|could not|not|never|difficult to|hard to)\b[^.;,:]{0,40}?"
         r"\bexcluded?\b", "possibly"),
        ("ruled out", r"\b(?:cannot|can not|could not|not|never)\b[^.;,:]{0,40}?\bruled out\b",
         "possibly"),
        ("rule out", r"\b(?:cannot|can not|could not|not)\b[^.;,:]{0,40}?\brule out\b", "possibly"),
        ("ruled out", r"\bruled out\b", "excluded"),
        (" change", r"\b(?:significant|interval|substantial) change\b", "changed"),
        (" than ", r"\b(left|right)(?:[ -]side)? (?:is )?(?:greater|more|larger|worse) than (?:the )?"
         r"(?:left|right)\b", r"more \1"),
        (" > ", r"\b(left|right) > (?:left|right)\b", r"more \1"),
        ("rule out", r"\brule out\b", "#asked"),
        ("r/o", r"\br/o\b", "#asked"),
        ("to exclude", r"\bto exclude\b", "#asked"),
        ("evaluate", r"\bevaluate (?:for|the)\b", "#asked"),
        ("assess", r"\bassess for\b", "#asked"),
        ("free ", r"\bfree ([a-z]+ )?(?!fluid)([a-z]+ )?(fluid|air|gas)\b", r"free \3 \1\2"),
        (" cavit", r"\b(nasal|peritoneal|oral|pleural|abdominal|cranial|pelvic|thoracic) "
         r"cavit(?:y|ies)\b", r"\1"),
        ("m ", r"(?<=[cm]m) (?:thick|long|wide|deep)\b", ""),
        ("not only", r"\bnot only\b", ""),
        ("limits", r"\bwithin (?:normal|physiologic(?:al)?) limits\b", "normal"),
        ("clear of", r"\bclear of\b", "free of"),
        (" to ", r"\b(?:left|right) to (?:left|right)\b", ""),
        ("rather than", r"\brather than\b", "unlikely"),
    )
]  # fmt: skip
"""What must be in a text, what is looked for then, and what is read instead, in this order."""
LEXEME = re.compile(r"#[a-z%]+(?::[\w.-]+)?|[^\W\d_]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[.;:,()/|-]")

DENYING = frozenset(
    "no without absence lack never neither nor not denies kein keine keinen keiner keinem ohne sans "
    "aucun aucune sin sem senza nessun nessuna geen zonder ingen inga utan brak bez absent resolved "
    "resolution negative free nicht niet".split()
)
NEEDS_OF = {"absence": "of", "lack": "of", "resolution": "of", "negative": "for", "free": "of"}
"""Words that deny what follows only with this word after them."""
BACKWARD = frozenset("absent none resolved excluded negative nil removed".split())
"""Words that deny what stands before them."""
SEEN = frozenset(
    "seen visible visualized visualised identified present detected demonstrated evident found "
    "appreciated observed noted shown apparent suspected recognized suggested".split()
)
COPULA = frozenset("is are was were be been has have had".split())
STOPS = frozenset(
    ". ; : | but however although though except aside apart there which with because due given "
    "yet while whereas as unchanged".split()
)
CLAUSE = frozenset(", ; : . ( with without but which because although however".split())
HEDGES = frozenset("likely probably possibly suspicious consistent compatible suggestive probable".split())
PREPOSITIONS = frozenset("of in from within along on".split())
ARTICLES = frozenset("the a an this these there".split())


def folded(text: str) -> str:
    """One spelling of dashes, quotes, multiplication signs; lower case; line breaks kept."""
    return unicodedata.normalize("NFKC", text).translate(FOLDED).lower()


@cache
def stem(word: str) -> str:
    """A word without its English endings; rough, but the same for noun, plural and adjective."""
    if word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("ies") and len(word) > 5:
        word = f"{word[:-3]}y"
    elif len(word) > 3 and word[-1] == "s" and word[-2] not in "sui":
        word = word[:-1]
    word = noun(word)
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            return word[: -len(suffix)]
    return word


def noun(word: str) -> str:
    """The Greek noun of a Greek adjective or plural."""
    for ending, instead in ADJECTIVES:
        if word.endswith(ending):
            return word.removesuffix(ending) + instead
    return word


ADJECTIVES = (
    ("otic", "osis"), ("itic", "itis"), ("ectatic", "ectasis"), ("trophic", "trophy"),
    ("emic", "emia"), ("plastic", "plasia"), ("pathic", "pathy"), ("oses", "osis"),
)  # fmt: skip
SUFFIXES = sorted(
    "ications ication ization ation ative atory ating ated ates ate ition ion ive ings ing edly ed "
    "es ous ally al ary ar ically ical ic ity ia ae a um us is i e y ly ement ment ance ant ent ence "
    "ness ied ular ule ulum oid ened ening".split(),
    key=len,
    reverse=True,
)


def _entries(text: str) -> Iterator[tuple[str, list[str]]]:
    """`name: other, other` lines to (name, others)."""
    for line in text.strip().splitlines():
        name, _, others = line.partition(":")
        yield name.strip(), [o.strip() for o in others.split(",") if o.strip()]


def _vocabulary() -> dict[str, tuple[str, Kind]]:
    """Words, and stems of words, to (concept, kind)."""
    found: dict[str, tuple[str, Kind]] = {}

    def add(word: str, concept: str, kind: Kind) -> None:
        found.setdefault(word, (concept, kind))
        found.setdefault(stem(word), (concept, kind))

    for line in terms.OPPOSITES.strip().splitlines():
        axis, _, values = line.partition(":")
        for value in values.split(";"):
            name, _, words = value.partition("=")
            for word in words.split(","):
                found.setdefault(word.strip(), (f"{axis.strip()}:{name.strip()}", Kind.OPPOSITE))
    for word in terms.NORMAL.split():
        found.setdefault(word, ("normal", Kind.NORMAL))
    for name, others in _entries(terms.FINDINGS):
        for word in [name, *others]:
            if " " not in word:
                add(word, name, Kind.FINDING)
    for word in terms.BARE_FINDINGS.split():
        add(word, word, Kind.FINDING)
    for entry in re.split(r"[;\n]", terms.PARTS.strip()):
        names, _, _ = entry.partition(">")
        name, _, others = names.partition(":")
        for word in [name, *others.split(",")]:
            if word.strip() and " " not in word.strip():
                add(word.strip(), name.strip(), Kind.PART)
    return found


def _containers() -> dict[str, frozenset[str]]:
    """Every part to all that it lies in, directly or not."""
    direct: dict[str, set[str]] = {}
    for entry in re.split(r"[;\n]", terms.PARTS.strip()):
        names, _, outer = entry.partition(">")
        direct.setdefault(names.partition(":")[0].strip(), set()).update(outer.split())

    def upwards(part: str) -> set[str]:
        return {p for o in direct.get(part, ()) for p in {o} | upwards(o)}

    return {part: frozenset(upwards(part)) for part in direct}


def _kinds_of() -> dict[str, frozenset[str]]:
    """Every finding to the more general ones that it is one of."""
    direct: dict[str, set[str]] = {}
    for entry in re.split(r"[;\n]", terms.KINDS_OF.strip()):
        name, _, outer = entry.partition("<")
        direct.setdefault(name.strip(), set()).add(outer.strip())

    def upwards(name: str, seen: frozenset[str]) -> set[str]:
        return {
            p
            for o in direct.get(name, ())
            if o not in seen
            for p in {o} | upwards(o, seen | {o})
        }

    return {name: frozenset(upwards(name, frozenset({name}))) for name in direct}


def _rewriting() -> dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Stem of the first word to (stems of the phrase, the words instead), longest first."""
    found: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    synonyms = [
        f"{other} = {name}" for name, others in _entries(terms.FINDINGS) for other in others
        if " " in other
    ]  # fmt: skip
    for entry in [*re.split(r"[;\n]", terms.REWRITTEN.strip()), *synonyms]:
        old, _, new = entry.partition("=")
        phrase = tuple(stem(w) for w in old.split())
        if phrase:
            found.setdefault(phrase[0], []).append((phrase, tuple(new.split())))
    for phrases in found.values():
        phrases.sort(key=lambda p: -len(p[0]))
    return found


def _implying() -> dict[str, frozenset[str]]:
    """Every finding or word to the body parts that it speaks of without naming them."""
    found: dict[str, set[str]] = {}
    for part, words in _entries(terms.IMPLIED):
        for word in words:
            concept = meaning(word)
            if concept:
                found.setdefault(concept[0], set()).add(part)
    return {concept: frozenset(parts) for concept, parts in found.items()}


@cache
def implied(concept: str) -> frozenset[str]:
    """Body parts of which a concept speaks: by list, by its root, by what is around one."""
    found = set(IMPLIED.get(concept, ()))
    found |= {part for root, part in ROOTS if concept.startswith(root)}
    around = AROUND.match(concept)
    if around:
        part = VOCABULARY.get(concept[around.end() :])
        if part and part[1] is Kind.PART:
            found.add(part[0])
    return frozenset(found - {concept})


AROUND = re.compile(r"(?:peri|para|sub|intra|extra|retro|supra|infra|pre|juxta|inter|trans|endo)")
VOCABULARY = _vocabulary()
CONTAINERS = _containers()
KINDS = _kinds_of()
REWRITING = _rewriting()
FILLER = frozenset(terms.FILLER.split())
FINDING_ENDING = re.compile(terms.FINDING_ENDING)
ABNORMAL = frozenset(terms.ABNORMAL.split())


@cache
def meaning(word: str) -> tuple[str, Kind] | None:
    """Concept and kind of a word; nothing for one that says nothing."""
    known = VOCABULARY.get(word)
    if known:
        return known
    if word in FILLER or len(word) < 2:
        return None
    known = VOCABULARY.get(stem(word))
    if known and known[1] is not Kind.OPPOSITE:
        return known
    if len(word) > 5 and FINDING_ENDING.search(noun(word)):
        return stem(word), Kind.FINDING
    return stem(word), Kind.WORD


ROOTS = [tuple(pair.split()) for pair in re.split(r"[;\n]", terms.ROOTS.strip())]
IMPLIED = _implying()


def statements(text: str) -> list[Statement]:
    """The statements of a report, in order; those that only ask are marked as not asserted."""
    found: list[Statement] = []
    heading = frozenset[str]()
    for paragraph, asked in _paragraphs(text):
        if ":" in paragraph:
            heading = frozenset[str]()
        label, before, name = heading, frozenset[str](), ""
        for number, piece in enumerate(_pieces(paragraph)):
            statement = parsed(piece, label | before, not asked, name)
            found.append(statement)
            if number == 0 and ":" in piece:
                name = piece.split(":")[0]
                label = frozenset(t.concept for t in parsed(name).tokens)
            if paragraph.rstrip().endswith(":"):
                heading = frozenset(t.concept for t in statement.tokens)
            levels = {t.concept for t in statement.tokens if t.kind is Kind.LEVEL}
            before = frozenset(
                {t.concept for t in statement.tokens if t.kind is not Kind.OPPOSITE}
                | (levels or {c for c in before if c.startswith("level:")})
            )
    return found


def _paragraphs(text: str) -> Iterator[tuple[str, bool]]:
    """Paragraphs, list items and sections with whether they are the clinician's question."""
    asked = False
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for block in _joined(text):
        start = 0
        cuts = [m for m in SECTION.finditer(block) if TITLE.match(m[1]) or ASKED.match(m[1])]
        for header in cuts:
            if block[start : header.start()].strip(" ,\n"):
                yield block[start : header.start()], asked
            asked = bool(ASKED.match(header[1]))
            start = header.end()
        if block[start:].strip(" ,\n"):
            yield block[start:], asked
            asked = False


def _joined(text: str) -> Iterator[str]:
    """Lines, with those that only wrap put together."""
    held = ""
    for line in text.translate({ord("*"): " ", ord("#"): " "}).split("\n"):
        mark = ITEM.match(line)
        body = line[mark.end() :].strip() if mark else line.strip()
        wraps = held and body and not mark and (
            body[0].islower() or (len(held) > 60 and held[-1] not in ".:;!?" and ":" not in body)
        )  # fmt: skip
        if wraps:
            held = f"{held} {body}"
            continue
        if held:
            yield held
        held = body
    if held:
        yield held


def _pieces(paragraph: str) -> Iterator[str]:
    """Sentences of a paragraph."""
    start = 0
    for end in END.finditer(paragraph):
        if end.start() < start:
            continue
        rest = paragraph[end.end() :].lstrip(" ,\n)\"'")
        if end[0] == "." and rest and (
            rest[0].islower() or ABBREVIATED.search(paragraph[start : end.start()])
        ):  # fmt: skip
            continue
        yield paragraph[start : end.end()].strip(" ,")
        start = end.end()
    if paragraph[start:].strip(" ,."):
        yield paragraph[start:].strip(" ,")


def parsed(
    text: str, context: frozenset[str] = frozenset(), asserted: bool = True, label: str = ""
) -> Statement:
    """One statement's tokens."""
    plain = " ".join(folded(text).split())
    plain = PREFIX.sub(r"\1\2", plain)
    for word, pattern, new in PHRASES:
        if word in plain:
            plain = pattern.sub(new, plain)
    words = _rewritten(LEXEME.findall(marked(plain)))
    if "#asked" in words:
        words = words[: words.index("#asked")]
    denied = _denied(words)
    tokens = []
    places: dict[str, list[int]] = {}
    clause = 0
    for place, word in enumerate(words):
        clause += word in CLAUSE
        token = _token(word, place, denied[place], clause)
        if token:
            tokens.append(token)
            for concept in (token.concept, *implied(token.concept)):
                places.setdefault(concept, []).append(place)
    frozen = {concept: tuple(p) for concept, p in places.items()}
    no = frozenset(t.place for t in tokens if t.denied)
    return Statement(text, tuple(tokens), context, asserted, no, label, frozen)


def _token(word: str, place: int, denied: bool, clause: int) -> Token | None:
    if word[0] == "#":
        if word == "#date" or ":" not in word:
            return None
        if word.startswith("#level:"):
            return Token(word[1:], Kind.LEVEL, place, denied, word, clause)
        return Token(word[1:], Kind.MEASURE, place, denied, word, clause)
    if word in ABNORMAL:
        return Token("normal", Kind.NORMAL, place, not denied, word, clause)
    if word.startswith("non") and VOCABULARY.get(stem(word[3:]), ("", None))[1] is Kind.FINDING:
        word, denied = word[3:], not denied
    known = meaning(word)
    return Token(known[0], known[1], place, denied, word, clause) if known else None


def _rewritten(words: list[str]) -> list[str]:
    """Words with abbreviations and compounds in full; punctuation other than clause marks is out."""
    words = [w for w in words if w not in "-/()" or w == "("]
    stems = [stem(w) for w in words]
    out: list[str] = []
    at = 0
    while at < len(words):
        if words[at].endswith(("ectomy", "ectomies")):
            out.append("resection")
        for phrase, new in REWRITING.get(stems[at], ()):
            if tuple(stems[at : at + len(phrase)]) == phrase:
                out.extend(new)
                at += len(phrase)
                break
        else:
            out.append(words[at])
            at += 1
    return out


def _denied(words: list[str]) -> list[bool]:
    """For each word whether a negation reaches it."""
    denied = [False] * len(words)
    reach = 0
    for at, word in enumerate(words):
        if word not in DENYING and word not in BACKWARD:
            continue
        following = words[at + 1] if at + 1 < len(words) else "."
        if word in NEEDS_OF and following != NEEDS_OF[word] and word not in BACKWARD:
            continue
        not_seen = word == "not" and _seen(words[at + 1 : at + 4])
        backward = not_seen or (word in BACKWARD and _ends_clause(words, at))
        if backward:
            first = at
            while first > 0 and not _begins_clause(words, first, at):
                first -= 1
            for n in range(first, at):
                denied[n] = True
        elif word in DENYING and at >= reach - 1:
            last = at + 1
            while last < len(words) and not _stops(words, last, at):
                denied[last] = not denied[last]
                last += 1
            reach = last
    return denied


def _seen(following: list[str]) -> bool:
    """Whether the words after "not" are those of "not clearly seen"."""
    verbs = [w for w in following if not w.endswith("ly") and w not in ("well", "be")]
    return bool(verbs) and verbs[0] in SEEN


def _ends_clause(words: list[str], at: int) -> bool:
    """Whether a denying word speaks of what came before it: "is absent", "effusion: none"."""
    before = words[at - 1] if at else ""
    following = words[at + 1] if at + 1 < len(words) else "."
    if NEEDS_OF.get(words[at]) == following:
        return False
    return before in COPULA or before == ":" or following in ".;," or words[at] == "none"


def _begins_clause(words: list[str], first: int, at: int) -> bool:
    """Whether the clause that ends at `at` begins with the word `first`."""
    before = words[first - 1]
    if before == ":":
        return first != at
    if before in ".;|" or before in ("but", "however", "although"):
        return True
    return before in (",", "and") and words[first] in ARTICLES


def _stops(words: list[str], last: int, start: int) -> bool:
    """Whether a negation that began at `start` ends before the word `last`."""
    word = words[last]
    if word == "there" and last <= start + 3:
        return False
    if word in STOPS or (word in COPULA and last > start + 1):
        return True
    if word in ("without", "no") and last > start + 1:
        return True
    following = words[last + 1] if last + 1 < len(words) else ""
    if word in PREPOSITIONS and following == "the" and last > start + 2:
        return True
    if word == "," and (
        following in ARTICLES
        or following[:1] == "#"
        or following in HEDGES
        or following in ("and", "but") and words[last + 2 : last + 3] and words[last + 2] in ARTICLES
        or VOCABULARY.get(following, ("", Kind.WORD))[0].startswith(("degree:", "age:old", "change:"))
    ):  # fmt: skip
        return True
    return word == "and" and (following in ARTICLES or following == "#n")
