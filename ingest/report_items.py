"""The lines of a section -> its items: what a list, a paragraph or a line break holds apart.

In: plain lines. Out: items with the label they stand under and their place in the list. A line
break is only wrapping unless the line was ended on purpose: by a full stop, by the next line's list
mark or label, or where the next word would have fitted on the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ingest.anatomy import is_anatomy_label, is_level
from ingest.report_sentences import CJK
from ingest.report_titles import DECORATION, LABELS, MAX_TITLE, Kind, kind_of

BULLET = re.compile(
    r"([ \t]*)(?:[-\u2013\u2014*+\u2022\u2023>](?=\s)|[-\u2013\u2014](?=[^\W\d_]))[ \t]*"
)
NUMBER = re.compile(
    r"([ \t]*)[(#]?(\d{1,2})(?:[.)](?=\s*[^\W\d_]|\s)|[.)]$|\u3001|\uff0e"
    r"|[ \t]?[-\u2013](?=[ \t]+[A-Z]))"
    r"[ \t]*"
)
CIRCLED = re.compile(r"([ \t]*)[\u2460-\u2473\u2776-\u277f][ \t]*")
LETTER = re.compile(r"([ \t]*)\(?([a-hA-H])[.)](?=\s)[ \t]*")
ROMAN = re.compile(r"([ \t]*)\(?([ivx]{1,4}|[IVX]{2,4})[.)](?=\s)[ \t]*")
INLINE_NUMBER = re.compile(r"(?<=\s)\(?(\d{1,2})[.)](?:[ \t]+|(?=\D))(?=\S)|[\u2461-\u2473][ \t]*")
LABEL = re.compile(
    r"[ \t]*([^\s:\uff1a][^:\uff1a.;\n]{0,68}?)[ \t]*[:\uff1a](?=[ \t]|$|[^\W\d_])[ \t]*"
)
COLUMN = re.compile(
    r"[ \t]*([^\s:\uff1a][^:\uff1a.;\t\n]{1,40}?)(?:[ \t]*\t[ \t]*|[ ]{4,}|[ ]?\.{3,}[ ]?)(?=\S)"
)
ENDED = re.compile(r"[.!?:\u3002\uff01\uff1f][)\]\"'\u201d\u2019]*$")
FUNCTION_WORD = re.compile(
    r"(?:^|[\s(])(?:the|an?|of|in|on|at|to|for|with|without|and|or|by|from|as|is|are|was|were|be"
    r"|been"
    r"|has|have|no|than|that|which|this|these|its|into|within|per|measuring"
    r"|der"
    r"|die|das|des|den|dem|und|oder|mit|ohne|im|in|am|von|zu|le|la|les|de|du|et|ou|avec|sans|el|los"
    r"|las|con|sin|y)$|[,/(-]$",
    re.I,
)
HYPHENATED = re.compile(r"[^\W\d_]-$")
AFTER_HYPHEN = re.compile(r"[^a-z]|(?:and|or|to|und|et|y)\b")
STOPPED = re.compile(r"[.\u3002\uff0e][ \t]*$")
ENDLESS = 1 << 30
MIN_WIDTH = 30
"""Columns; lines of a narrower paragraph were not wrapped."""
MAX_LABEL_WORDS = 8
NOT_IN_LABEL = re.compile(
    r"\b(?:is|are|was|were|has|have|there|shows?|demonstrates?|seen|noted)\b", re.I
)


@dataclass(frozen=True)
class Label:
    """What an item stands under."""

    text: str
    kind: Kind
    is_heading: bool = False
    """On a line of its own, without a colon: whole paragraphs stand under it."""
    is_alone: bool = False
    """On a line of its own: its words begin on the next."""


@dataclass
class Item:
    """A paragraph, or an entry of a list."""

    text: str
    label: Label | None = None
    parents: tuple[Item, ...] = ()
    """Of an entry of a list: those that it stands under, outermost first."""
    listed: bool = False
    follows: bool = False
    """Not the first under its label."""


@dataclass
class _Reader:
    """Where in the list and under which label the lines are."""

    items: list[Item] = field(default_factory=list)
    label: Label | None = None
    above: list[tuple[int, str, Item]] = field(default_factory=list)
    """Open entries: (indent, kind of mark, item)."""
    lines: list[str] = field(default_factory=list)
    listed: bool = False
    number: int = 0
    """Of the mark before the lines."""
    filled: bool = False
    """Something stands under the label already."""


def items(lines: Sequence[str]) -> list[Item]:
    """Items of a section, in order."""
    reader = _Reader()
    number = 0
    for line, following, width in zip(lines, [*lines, ""][1:], _widths(lines), strict=True):
        if not line.strip():
            _flush(reader)
            reader.listed = False
            if reader.filled:
                reader.label = None
            continue
        mark = _mark(line, number if reader.above else 0)
        if mark is not None:
            _flush(reader)
            indent, kind, length, number = mark
            _enter(reader, indent, kind)
            reader.number = number if kind == "number" else 0
            line = line[length:]
        elif reader.above and not reader.lines and not reader.listed:
            reader.above.clear()
        _read(reader, line, following.lstrip(), width, marked=mark is not None)
    _flush(reader)
    return reader.items


def _widths(lines: Sequence[str]) -> list[int]:
    """Width of the paragraph of each line."""
    widths, start = [0] * len(lines), 0
    for end in range(len(lines) + 1):
        if end == len(lines) or not lines[end].strip():
            widths[start:end] = [_width(lines[start:end])] * (end - start)
            start = end + 1
    return widths


def _width(lines: Sequence[str]) -> int:
    """Width to which a paragraph was wrapped. 0 where all is in capitals with full stops: there a
    line's first capital says nothing, and no stop is left out. Endless where no line has a stop and
    each begins as a sentence does: there each is one."""
    if any(". " in line for line in lines) and all(map(_is_upper, lines)):
        return 0
    if not any(STOPPED.search(line) or line.lstrip()[:1].islower() for line in lines):
        return ENDLESS
    return max((len(line.rstrip()) for line in lines), default=0)


def _is_upper(line: str) -> bool:
    return line == line.upper()


def _read(reader: _Reader, line: str, following: str, width: int, marked: bool) -> None:
    """One line, whose mark is off."""
    bare = line.strip(DECORATION + ":")
    is_new = marked or not reader.lines or _is_break(reader.lines[-1], line, width)
    if is_new and not marked and _may_be_heading(bare, line, following):
        kind = kind_of(bare)
        if kind in LABELS:  # a heading of its own
            _flush(reader)
            reader.label, reader.filled, reader.listed = Label(bare, kind, True, True), False, False
            reader.above.clear()
            return
    label = LABEL.match(line) or _column(line)
    if label and (is_new or label[1][0].isupper()) and _is_label(label[1]):
        if not marked:
            _flush(reader)
            if reader.above and _is_outside(reader, line):
                reader.above.clear()
                reader.listed = False
        kind = kind_of(label[1])
        rest = line[label.end() :]
        if kind in LABELS or (not marked and not rest.strip()):
            reader.label = Label(label[1].strip(), kind, is_alone=not rest.strip())
            reader.filled = False
            line = rest
        elif not marked:
            reader.label, reader.filled = None, True
        if not line.strip():
            return
        reader.lines.append(line)
        return
    if is_new and not marked:
        _flush(reader)
    reader.lines.append(line)


def _may_be_heading(bare: str, line: str, following: str) -> bool:
    """Whether a line could be a title of its own, and is not where a wrapped sentence begins."""
    return (
        bool(bare)
        and bare[0].isupper()
        and not ENDED.search(line.rstrip())
        and not FUNCTION_WORD.search(line.rstrip())
        and not following[:1].islower()
    )


def _column(line: str) -> re.Match[str] | None:
    column = COLUMN.match(line)
    if column and (is_anatomy_label(column[1]) or is_level(column[1])):
        return column
    return None


def _is_outside(reader: _Reader, line: str) -> bool:
    """Whether a line without a mark is indented no further than the list before it."""
    return len(line) - len(line.lstrip()) <= reader.above[0][0]


def _is_label(title: str) -> bool:
    title = title.strip(DECORATION)
    return (
        bool(title)
        and (title[0].isupper() or title[0].isdigit() or not title.isascii())
        and (
            kind_of(title) in LABELS
            or (len(title.split()) <= MAX_LABEL_WORDS and not NOT_IN_LABEL.search(title))
        )
    )


def _is_break(line: str, following: str, width: int) -> bool:
    """Whether a line was ended on purpose."""
    line, following = line.rstrip(), following.strip()
    if ENDED.search(line):
        return True
    first = following.split(None, 1)[0]
    if not width or FUNCTION_WORD.search(line) or first[0].islower():
        return False
    return width < MIN_WIDTH or len(line) + 1 + len(first) <= width


def _mark(line: str, number: int) -> tuple[int, str, int, int] | None:
    """(indent, kind, length, number) of a line's list mark."""
    if match := NUMBER.match(line):
        return len(match[1].expandtabs(4)), "number", match.end(), int(match[2])
    for kind, pattern in (("bullet", BULLET), ("number", CIRCLED)):
        if match := pattern.match(line):
            return len(match[1].expandtabs(4)), kind, match.end(), number
    if (match := ROMAN.match(line)) and (match[2] not in {"v", "x"} or number):
        return len(match[1].expandtabs(4)), "roman", match.end(), number
    if (match := LETTER.match(line)) and (
        match[2].islower() or match[0].rstrip().endswith(")") or match[2] == "A" or number
    ):
        return len(match[1].expandtabs(4)), "letter", match.end(), number
    return None


def _enter(reader: _Reader, indent: int, kind: str) -> None:
    """Close the entries that a new one does not stand under."""
    above = reader.above
    while above and not (
        above[-1][0] < indent
        or (
            above[-1][0] == indent and above[-1][1] != kind and kind not in {k for _, k, _ in above}
        )
    ):
        above.pop()
    item = Item("", reader.label, tuple(entry for _, _, entry in above), listed=True)
    above.append((indent, kind, item))
    reader.listed = True


def _flush(reader: _Reader) -> None:
    """The lines so far are an item."""
    text = joined(reader.lines)
    reader.lines, number_before = [], reader.number
    if not text:
        return
    follows, reader.filled, reader.number = reader.filled, True, 0
    entry = reader.above[-1][2] if reader.listed and reader.above else None
    parents = entry.parents if entry else ()
    for number, part in enumerate(_numbered(text, number_before)):
        if entry and number == 0 and not entry.text:
            entry.text, entry.label, entry.follows = part, reader.label, follows
            reader.items.append(entry)
        else:
            reader.items.append(
                Item(
                    part, reader.label, parents, reader.listed or number > 0, follows or number > 0
                )
            )


def joined(lines: Sequence[str]) -> str:
    """Wrapped lines as one; what was hyphenated at a line's end keeps its hyphen."""
    pieces: list[str] = []
    for line in lines:
        line = " ".join(line.split())
        last = pieces[-1] if pieces else ""
        is_one_word = HYPHENATED.search(last) and not AFTER_HYPHEN.match(line)
        if not last or is_one_word or (CJK.match(last[-1]) and CJK.match(line[:1])):
            pieces.append(line)
        else:
            pieces += [" ", line]
    return "".join(pieces)


def _numbered(text: str, number: int) -> Iterator[str]:
    """Entries of a list within a line: "1. Mass. 2. Edema." Numbers must count up, from 1 or from
    that of the mark before the text."""
    start, expected = 0, number + 1
    first = NUMBER.match(text)
    if first and int(first[2]) == expected == 1:
        start, expected = first.end(), 2
    for mark in INLINE_NUMBER.finditer(text, start):
        value = int(mark[1]) if mark[1] else ord(mark[0][0]) - 0x245F
        before, after = text[start : mark.start()].rstrip(), text[mark.end() : mark.end() + 1]
        is_ended = not before or before[-1] in ".;:?!)\u3002"
        if (
            value == expected
            and (after.isupper() or (is_ended and not after.islower()))
            and (expected > 1 or is_ended)
        ):
            if before:
                yield before
            start, expected = mark.end(), expected + 1
    if text[start:].strip():
        yield text[start:]


__all__ = ["MAX_TITLE", "Item", "Label", "items", "joined"]
