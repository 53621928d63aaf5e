"""A report -> its findings as sentences, by rule; no network, no model.

In: report text. Out: sentences, each one finding, in the report's order. Sections are recognised by
their titles, lists by their marks; technique, history, signatures and other boilerplate are left
out, negations stay. A label ("LUNGS:", "L4-5:") stays with its words, and goes to the next of them
where they would not say what they are about. An empty or boilerplate-only report gives no
sentences: it is missing, not normal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.anatomy import RANGE, names_anatomy, says_where, shared_words
from ingest.boilerplate import is_boilerplate, is_statement, is_verbless, without_communication
from ingest.report_clean import plain
from ingest.report_items import Item, Label, items
from ingest.report_sections import Section, sections
from ingest.report_sentences import holds_words, sentences
from ingest.report_titles import LABELS, Kind, kind_of

VARIANT = "offline"

KEPT = frozenset({Kind.FINDINGS, Kind.IMPRESSION, Kind.ADVICE})
OWN_LABEL = re.compile(r"([^\s:\uff1a][^:\uff1a.;]{0,68}?)[ ]?[:\uff1a][ ]*(?=\S)")
DEPENDENT = re.compile(
    r"^(?:previous|prior|formerly|measur|unchanged|stable|increas|decreas|larger|smaller|grown|this"
    r"|these|it\b|with\b|without|new\b|size|series|image|was\b|were\b|likely|possibl|probabl"
    r"|suspicio"
    r"|consistent|compatible|suggest|now\b|differential|dd\b|ddx|again|also|largest|about|approx)",
    re.I,
)
"""Words with which an entry of a list goes on about the one that it stands under."""
OF_LEVEL = re.compile(
    r"\b(?:disc|disk|dis[ck]al|foram|neuroforam|canal|facet|cord|nerve|root|annul|protru|extru|hernia"
    r"|osteophyt|end ?plate|thecal|sac\b|steno|bulg|ligament|uncovert|csf|level|listhesis|central"
    r"|lateral|spondyl|arthr|compress|narrow)",
    re.I,
)
"""What a level of the spine has; other anatomy after it is a new subject."""
LIST_LEAD = re.compile(r"\b(?:follow(?:s|ing)|below)\b", re.I)
NOTHING = re.compile(
    r"(?:none|nil|n/?a|not applicable|nothing|see above|as above|na|no|yes)\W*", re.I
)
NOTHING_ELSE = re.compile(r"(?:others?|misc\w*|additional[^:]{0,20}): (?:none|nil|n/a)\W*$", re.I)
SIGN_OFF = re.compile(
    r"\b(?:electronically|digitally) signed\b|^(?:e-?signed|signed|dictated|approved|verifie[dr]"
    r"|transcribed"
    r"|signature|electronically|primary interpreting|interpreting|reporting|reported by|read by)\b"
    r"|^(?:mit freundlichen|mfg\b|cordialement|atentamente|kind regards|sincerely)|^end of report",
    re.I,
)


def summarize(text: str) -> list[str]:
    """Sentences of a report, each once.

    >>> summarize("HISTORY: Fall.\\nFINDINGS: 1. A 3.5 x 2.1 cm. mass. No bleed.\\nSigned: Dr. X")
    ['A 3.5 x 2.1 cm. mass.', 'No bleed.']
    """
    seen: dict[str, str] = {}
    for sentence in _statements(text):
        seen.setdefault(sentence.lower().rstrip(".!? "), sentence)
    return list(seen.values())


def _statements(text: str) -> Iterator[str]:
    signed = -1  # the block whose signature is past
    for section in sections(plain(text)):
        if section.kind is Kind.LINE and SIGN_OFF.search(section.title):
            signed = section.block
        elif section.kind in KEPT:
            yield from _kept(section, signed == section.block and not section.title)
        elif section.kind is None or section.kind in LABELS:
            if not section.has_findings:
                yield from _kept(section, signed == section.block and not section.title)
        elif section.kind in {Kind.TECHNIQUE, Kind.HISTORY} and (
            section.within or not section.has_findings
        ):
            yield from _strays(section)


def _kept(section: Section, signed: bool) -> Iterator[str]:
    """Sentences of a section that holds findings."""
    lines = section.lines
    if section.kind in LABELS or section.kind is Kind.ADVICE:
        lines = (f"{section.title}: {lines[0]}", *lines[1:]) if lines else lines
    is_titled = section.kind in KEPT
    for item, tail in _with_tails(items(lines)):
        kept = []
        for sentence in _labelled(item):
            sentence = without_communication(sentence)
            signed = signed or bool(SIGN_OFF.search(sentence[:200]))
            if NOTHING_ELSE.match(sentence):
                continue
            if not is_boilerplate(sentence, is_titled) and (not signed or is_statement(sentence)):
                kept.append(sentence)
        yield from [*kept[:-1], " ".join([*kept[-1:], *tail])] if kept or tail else []


def _strays(section: Section) -> Iterator[str]:
    """Findings in a section that should hold none, because none else does: all from the first
    sentence on that is one. What the title is about comes before: the first item of a history, the
    first sentence where the title stands within a paragraph."""
    found = items(section.lines)
    if section.kind is Kind.HISTORY and not section.within:
        found = found[1:]
    skipped, begun = section.within, False
    for item in found:
        for sentence in _labelled(item):
            sentence = without_communication(sentence)
            begun = begun or (not skipped and is_statement(sentence))
            skipped = False
            if begun and not is_boilerplate(sentence, is_titled=False):
                yield sentence


def _with_tails(found: list[Item]) -> list[tuple[Item, list[str]]]:
    """Items, each with the entries under it that make no sense alone. An entry that ends in a colon
    is a label of those under it."""
    done: list[tuple[Item, list[str]]] = []
    leads = {id(p) for item in found for p in item.parents if p.text.rstrip().endswith(":")}
    for item in found:
        if id(item) in leads:
            continue
        parent = item.parents[-1] if item.parents else None
        if parent and id(parent) in leads:
            lead = parent.text.rstrip(" :")
            if not LIST_LEAD.search(lead) and not OWN_LABEL.match(item.text):
                item.text = f"{lead}: {item.text}"
        elif parent and done and DEPENDENT.match(item.text) and not names_anatomy(item.text):
            done[-1][1].extend(sentences(item.text))
            continue
        done.append((item, []))
    return done


def _labelled(item: Item) -> Iterator[str]:
    """Sentences of an item, each with its label where it needs it."""
    label, is_first, goes_on = item.label, not item.follows, True
    is_within = False
    for sentence in sentences(item.text):
        own = OWN_LABEL.match(sentence)
        if own and (kind := kind_of(own[1])) in LABELS:
            label, is_first, goes_on, is_within = Label(own[1], kind), True, True, True
            sentence = sentence[own.end() :]
        if not holds_words(sentence) or (label is None and NOTHING.fullmatch(sentence)):
            continue
        needed = label is not None and goes_on and _needs(label, sentence, is_first)
        # within a paragraph nothing says where the words under a label end, but other anatomy
        goes_on = goes_on and (needed or is_first or not is_within)
        is_first = False
        yield f"{label.text}: {sentence}" if label and needed else sentence


def _needs(label: Label, sentence: str, is_first: bool) -> bool:
    """Whether a sentence must be told what it is about."""
    if label.kind is Kind.LEVEL and not is_first and not OF_LEVEL.search(sentence):
        return not names_anatomy(sentence)
    if label.kind is Kind.LEVEL:
        return label.text.lower() not in sentence.lower() and not RANGE.search(sentence)
    if label.kind is Kind.EXAM or label.is_heading:
        return is_first and is_verbless(sentence) and not names_anatomy(sentence)
    if label.kind is Kind.OTHER:
        return is_first and not LIST_LEAD.search(label.text) and not names_anatomy(sentence)
    if is_first and not label.is_alone:
        return is_verbless(sentence) or not shared_words(label.text, sentence)
    return not says_where(sentence, label.text)
