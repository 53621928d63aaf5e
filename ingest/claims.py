"""One sentence -> the claims that it makes, in one vocabulary.

In: a sentence. Out: a `Statement` of `Token`s: what is found and whether it is denied, body parts,
sides and other opposites, measures, words. What a clinician asked ("rule out bleed") claims
nothing.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from ingest.measures import marked
from ingest.negation import CAUTIOUS, denied, doubted
from ingest.vocabulary import (
    ABNORMAL,
    VOCABULARY,
    Kind,
    implied,
    meaning,
    rewritten,
    stem,
    words,
)


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
    about: frozenset[str] = frozenset()
    """Concepts of the label alone, of which the statement speaks unless it says otherwise."""
    doubted: frozenset[int] = frozenset()
    """Places that a word of doubt reaches: possible, may, cannot be excluded."""
    hedged: bool = False
    """Whether any word leaves room for doubt, however little."""
    label: str = ""
    """What stands before the colon of its paragraph."""
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)


FOLDED = {
    ord(a): b
    for a, b in zip("\u2010\u2011\u2012\u2013\u2014\u2212\u00d7\u2019\u201c\u201d*#_\u00ad\u200b",
                    ["-"] * 6 + ["x", "'", '"', '"', " ", " ", " ", "", ""], strict=True)
}  # fmt: skip
SPELLING = (
    ("aem", "em"), ("oedem", "edem"), ("oesoph", "esoph"), ("tumour", "tumor"), ("rhoea", "rhea"),
    ("aec", "ec"), ("goitre", "goiter"), ("centre", "center"), ("grey", "gray"), ("fibre", "fiber"),
    ("coel", "cel"), ("calibre", "caliber"), ("metre", "meter"), ("colour", "color"),
    ("leuco", "leuko"), ("anaest", "anest"), ("paed", "ped"), ("foet", "fet"), ("sulph", "sulf"),
    ("artefact", "artifact"), ("behaviour", "behavior"), ("labelled", "labeled"),
)  # fmt: skip
"""British to American, in any part of a word."""
IZE = re.compile(r"(?<=[a-z]{4}[nlrtdmb])is(?=(?:e|ed|es|ing|ation|ations)\b)")
"""Characterised, pneumatised; not raise, noise, increase."""
PREFIX = re.compile(
    r"\b(?:(non|extra|intra|peri|sub)[- ]|(post|pre|hyper|hypo|para|retro|inter|supra|infra|multi|"
    r"micro|un|anti|trans|circum|epi|endo)-)(?=[a-z]{3})"
)
NOT = r"\b(?:cannot|can not|could not|not|never|difficult to|hard to)\b[^.;,:]{0,40}?"
UNCHANGED = (
    r"\b(?:no|without|not)(?: [a-z]+ly)?(?: (?:significant|appreciable|definite|major|substantial|"
    r"obvious|interval|other|new|gross))* (?:interval )?chang(?:e|ed|es)\b"
)
MORE_ON_ONE_SIDE = (
    r"\b(left|right)(?:[ -]side)? (?:is )?(?:greater|more|larger|worse) than "
    r"(?:the )?(?:left|right)\b"
)
LOST_CURVE = (
    r"\b(?:loss|straightening|reversal|flattening|attenuation) of (?:the )?"
    r"(?:normal |physiologic(?:al)? |natural |expected )*((?:[a-z]+ )?(?:lordo|kypho|curv))"
)
ALIGNED = (
    r"\b(?:normal|anatomic(?:al)?|preserved|maintained|satisfactory|unremarkable) "
    r"(?:[a-z]+ )?alignment\b|"
    r"\balignment (?:is |are |appears )?(?:normal|anatomic(?:al)?|preserved|maintained|satisfactory"
    r"|unremarkable|intact)\b"
)
CAVITIES = "nasal|peritoneal|oral|pleural|abdominal|cranial|pelvic|thoracic"
PHRASES = [
    (word, re.compile(pattern), new)
    for word, pattern, new in (
        ("n't", r"n't\b", " not"),
        ("'s", r"'s\b", ""),
        ("w/o", r"\bw/o\b", "without"),
        ("with", r"\bwith(?:out)? (?:and|or) with(?:out)?\b", " "),
        ("chang", UNCHANGED, "unchanged"),
        ("exclude", rf"{NOT}\bexcluded?\b", "possibly"),
        ("ruled out", rf"{NOT}\bruled out\b", "possibly"),
        ("rule out", rf"{NOT}\brule out\b", "possibly"),
        ("ruled out", r"\bruled out\b", "excluded"),
        (" change", r"\b(?:significant|interval|substantial) change\b", "changed"),
        (" than ", MORE_ON_ONE_SIDE, r"more \1"),
        (" > ", r"\b(left|right) > (?:left|right)\b", r"more \1"),
        ("rule out", r"\brule out\b", "#asked"),
        ("r/o", r"\br/o\b", "#asked"),
        ("to exclude", r"\bto exclude\b", "#asked"),
        ("evaluate", r"\bevaluate (?:for|the)\b", "#asked"),
        ("assess", r"\bassess for\b", "#asked"),
        ("free ", r"\bfree ([a-z]+ )?(?!fluid)([a-z]+ )?(fluid|air|gas)\b", r"free \3 \1\2"),
        (" cavit", rf"\b({CAVITIES}) cavit(?:y|ies)\b", r"\1"),
        ("m ", r"(?<=[cm]m) (?:thick|long|wide|deep)\b", ""),
        ("not only", r"\bnot only\b", ""),
        ("limits", r"\bwithin (?:normal|physiologic(?:al)?) limits\b", "normal"),
        ("clear of", r"\bclear of\b", "free of"),
        (" to ", r"\b(?:left|right) to (left|right)\b", r"\1ward"),
        ("compar", r"\bcompared? (?:with|to) (?:the )?(?:left|right|other)(?: side)?\b", ""),
        ("none of", r"\bnone of (?:the |these )?", "no "),
        ("alignment", ALIGNED, "no malalignment"),
        ("left-to", r"\bleft-to-right\b", "rightward"),
        ("right-to", r"\bright-to-left\b", "leftward"),
        ("of", LOST_CURVE, r"straightening \1"),
        ("rather than", r"\brather than\b", "unlikely"),
    )
]  # fmt: skip
"""What must be in a text, what is looked for then, and what is read instead, in this order."""
LEXEME = re.compile(r"#[a-z%]+(?::[\w.-]+)?|[^\W\d_]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[.;:,()/|-]")
CLAUSE = words(", ; : . ( with without but which because although however")


def folded(text: str) -> str:
    """One spelling of dashes, quotes, multiplication signs; lower case; line breaks kept."""
    return unicodedata.normalize("NFKC", text).translate(FOLDED).lower()


def parsed(
    text: str,
    context: frozenset[str] = frozenset(),
    asserted: bool = True,
    label: str = "",
    about: frozenset[str] = frozenset(),
) -> Statement:
    """One statement's tokens."""
    plain = " ".join(folded(text).split())
    for british, american in SPELLING:
        plain = plain.replace(british, american)
    plain = IZE.sub("iz", plain)
    plain = PREFIX.sub(r"\1\2", plain)
    for word, pattern, new in PHRASES:
        if word in plain:
            plain = pattern.sub(new, plain)
    said = rewritten(LEXEME.findall(marked(plain)))
    if "#asked" in said:
        said = said[: said.index("#asked")]
    reached = denied(said)
    tokens = []
    places: dict[str, list[int]] = {}
    clause = 0
    for place, word in enumerate(said):
        clause += word in CLAUSE
        token = _token(word, place, reached[place], clause)
        if token:
            tokens.append(token)
            for concept in (token.concept, *implied(token.concept)):
                places.setdefault(concept, []).append(place)
    frozen = {concept: tuple(p) for concept, p in places.items()}
    unsure = doubted(said)
    hedged = bool(unsure) or any(stem(word) in CAUTIOUS for word in said)
    no = frozenset(t.place for t in tokens if t.denied)
    return Statement(
        text, tuple(tokens), context, asserted, no, about, unsure, hedged, label, frozen
    )


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
