"""Words of a report -> concepts, whatever their ending, spelling or abbreviation.

In: lower-case words. Out: for each its concept and kind, from the tables of `terms` and
`body_parts`; words with abbreviations and compounds written in full; what lies in what, what is a
kind of what, and which body part a word speaks of without naming it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache

from ingest import body_parts, phrases, synonyms, terms


class Kind(StrEnum):
    FINDING = "finding"
    PART = "part"
    OPPOSITE = "opposite"
    MEASURE = "measure"
    LEVEL = "level"
    NORMAL = "normal"
    WORD = "word"


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


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
    words(
        """
        ications ication ization ation ative atory ating ated ates ate ition ion ive ings ing
        edly ed es ous ally al ary ar ically ical ic ity ia ae a um us is i e y ly ement ment
        ance ant ent ence ness ied ular ule ulum oid ened ening
        """
    ),
    key=lambda suffix: (-len(suffix), suffix),
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
        value, _, same = values.partition("=")
        for word in same.split(","):
            found.setdefault(word.strip(), (f"{axis}:{value.strip()}", Kind.OPPOSITE))
    for word in terms.NORMAL.split():
        found.setdefault(word, ("normal", Kind.NORMAL))
    for name, others in _entries(terms.FINDINGS + synonyms.FINDINGS):
        for word in [name, *others]:
            if " " not in word:
                add(word, name, Kind.FINDING)
    for word in (terms.BARE_FINDINGS + synonyms.BARE_FINDINGS).split():
        add(word, word, Kind.FINDING)
    for entry in re.split(r"[;\n]", body_parts.PARTS.strip()):
        names, _, _ = entry.partition(">")
        name, _, rest = names.partition(":")
        for word in [name, *rest.split(",")]:
            if word.strip() and " " not in word.strip():
                add(word.strip(), name.strip(), Kind.PART)
    return found


def _containers() -> dict[str, frozenset[str]]:
    """Every part to all that it lies in, directly or not."""
    direct: dict[str, set[str]] = {}
    for entry in re.split(r"[;\n]", body_parts.PARTS.strip()):
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
        known = meaning(name.strip())
        if known:
            direct.setdefault(known[0], set()).add(outer.strip())

    def upwards(name: str, seen: frozenset[str]) -> set[str]:
        return {
            p for o in direct.get(name, ()) if o not in seen for p in {o} | upwards(o, seen | {o})
        }

    return {name: frozenset(upwards(name, frozenset({name}))) for name in direct}


def _like() -> dict[str, frozenset[str]]:
    """Every finding to those for which a paraphrase may say it."""
    found: dict[str, set[str]] = {}
    for entry in re.split(r"[;\n]", synonyms.LIKE.strip()):
        name, _, others = entry.partition(":")
        found.setdefault(name.strip(), set()).update(o.strip() for o in others.split(","))
    return {name: frozenset(others) for name, others in found.items()}


def _rewriting() -> dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Stem of the first word to (stems of the phrase, the words instead), longest first."""
    found: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    others_named = [
        f"{other} = {name}" for name, others in _entries(terms.FINDINGS + synonyms.FINDINGS)
        for other in others if " " in other
    ]  # fmt: skip
    for entry in [*re.split(r"[;\n]", phrases.REWRITTEN + terms.REWRITTEN), *others_named]:
        old, _, new = entry.partition("=")
        phrase = tuple(stem(w) for w in old.split())
        if phrase:
            found.setdefault(phrase[0], []).append((phrase, tuple(new.split())))
    for entries in found.values():
        entries.sort(key=lambda p: -len(p[0]))
    return found


def _implying() -> dict[str, frozenset[str]]:
    """Every finding or word to the body parts that it speaks of without naming them."""
    found: dict[str, set[str]] = {}
    for part, words in _entries(body_parts.IMPLIED):
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
    if concept.endswith("itis"):
        stems = (VOCABULARY.get(concept[:end]) for end in range(4, len(concept) - 2))
        found |= {known[0] for known in stems if known and known[1] is Kind.PART}
    around = AROUND.match(concept)
    if around:
        part = VOCABULARY.get(concept[around.end() :])
        if part and part[1] is Kind.PART:
            found.add(part[0])
    return frozenset(found - {concept})


COMBINED = ("post", "micro", "macro", "multi", "peri", "intra", "extra", "sub", "bi", "re")
"""What a finding may begin with and stay one."""
AROUND = re.compile(r"(?:peri|para|sub|intra|extra|retro|supra|infra|pre|juxta|inter|trans|endo)")
VOCABULARY = _vocabulary()
CONTAINERS = _containers()
REWRITING = _rewriting()
FILLER = words(terms.FILLER + synonyms.FILLER)
FINDING_ENDING = re.compile(terms.FINDING_ENDING)
ABNORMAL = words(terms.ABNORMAL)


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
    for prefix in COMBINED:
        inner = VOCABULARY.get(stem(word.removeprefix(prefix))) if word.startswith(prefix) else None
        if inner and inner[1] is Kind.FINDING:
            return inner
    if len(word) > 5 and FINDING_ENDING.search(noun(word)):
        return noun(word).removesuffix("s") if word.endswith("omas") else noun(word), Kind.FINDING
    return stem(word), Kind.WORD


def is_a(narrow: str, wide: str) -> bool:
    """Whether every finding of the first kind is one of the second; every -itis is inflammation."""
    return wide in KINDS.get(narrow, ()) or (wide == "inflammation" and narrow.endswith("itis"))


ROOTS = [tuple(pair.split()) for pair in re.split(r"[;\n]", body_parts.ROOTS.strip())]
OPERATED = [tuple(pair.split()) for pair in re.split(r"[;\n]", body_parts.OPERATED.strip())]
IMPLIED = _implying()
KINDS = _kinds_of()
LIKE = _like()


GREEK = {
    "ectomy": "resection", "ectomies": "resection", "ectomized": "resection", "megaly": "enlarged",
}  # fmt: skip
"""What a word ends in that says what was done to an organ, or became of it."""


@cache
def _of_organ(word: str) -> tuple[str, ...]:
    """A Greek name in two words: what became of which organ."""
    for ending, finding in GREEK.items():
        if word.endswith(ending):
            organs = (part for root, part in ROOTS + OPERATED if word.startswith(root))
            return next(((finding, part) for part in organs), (finding,))
    return ()


def rewritten(said: list[str]) -> list[str]:
    """Words with abbreviations and compounds in full; only clause marks are left of punctuation."""
    said = [w for w in said if w not in "-/()" or w == "("]
    stems = [stem(w) for w in said]
    out: list[str] = []
    at = 0
    while at < len(said):
        of_organ = _of_organ(said[at])
        if of_organ:
            out.extend(of_organ)
            at += 1
            continue
        for phrase, new in REWRITING.get(stems[at], ()):
            if tuple(stems[at : at + len(phrase)]) == phrase:
                out.extend(new)
                at += len(phrase)
                break
        else:
            out.append(said[at])
            at += 1
    return out
