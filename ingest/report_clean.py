"""A report as it was stored -> its lines as they were meant.

In: text with HTML, Markdown, tables, mojibake, invisible characters, or with commas where line
breaks were. Out: plain lines; a list item begins with "- ", a cell is joined to its row's name.
Words, numbers and their order are left alone.
"""

from __future__ import annotations

import html
import re

TAG = re.compile(
    r"<(/?)(p|br|b|i|u|s|em|strong|span|div|font|ul|ol|li|dl|dt|dd|table|tbody|thead|tr|td|th|hr"
    r"|pre"
    r"|h[1-6]|html|head|body|title|style|script|a|sub|sup|small|center|blockquote|img|meta|o:p)"
    r"\b[^<>]{0,500}>",
    re.I,
)
BLOCKS = frozenset(
    ["p", "br", "div", "ul", "ol", "dl", "dt", "dd", "table", "tr", "hr", "pre", "title"]
)
HIDDEN = ("<!--", "-->"), ("<script", "</script>"), ("<style", "</style>")
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\0"))
SPACES = dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f\u3000"), " ")
BREAKS = dict.fromkeys(map(ord, "\f\v\u0085\u2028\u2029"), "\n")
LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl"}
MOJIBAKE = re.compile(
    "[\u00c2\u00c3\u00c4\u00c5][\u0080-\u00bf\u0152-\u0192\u2013-\u203a\u20ac\u2122\u02c6\u02dc]"
    "|\u00e2\u20ac[\u0080-\u00bf\u0152-\u0192\u2013-\u203a\u20ac\u2122\u02c6\u02dc]"
)
"""UTF-8 that was once read as Windows-1252: two or three characters that make one."""
EMPHASIS = re.compile(r"\*\*|__|(?<![\w*])[*_](?=[^\s*_])|(?<=[^\s*_])[*_](?![\w*])")
HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+", re.M)
BRACKETED = re.compile(
    r"[\u3010\u3014\uff3b]([^\u3010\u3011\u3014\u3015\n]{1,20})[\u3011\u3015\uff3d]"
)
"""A title between lenticular brackets."""
RULE = re.compile(r"^[ \t]*(?:[-*_=~#.+]{3,}|[|][-|: +]+[|])[ \t]*$", re.M)
HEAD_ROW = re.compile(r"^[ \t]*[|][^\n]*[|][ \t]*\n(?=[ \t]*[|][-|: ]{3,}[|])", re.M)
ROW = re.compile(r"^[ \t]*[|](.*)[|][ \t]*$", re.M)

TITLE_COMMA = re.compile(r"[A-Z]{3}:[ \t]?,")
JOINED = re.compile(r"[a-z0-9)]\.[ \t]{0,2},[A-Z0-9]")
MIN_JOINED = 2
"""Full stops followed by a comma and a capital letter: commas where line breaks were."""
TITLE_END = re.compile(r"(?<=:)(?:[ \t]{0,3},){1,3}[ \t]*")
LOST_BREAK = re.compile(
    r"(?<=[.?!])[ \t]{0,3},(?=\S)|(?<=\S),(?=[A-Z][A-Za-z])|(?<=\S),(?=[CTL]\d{1,2}-[CTLS\d])"
)
LOST_NUMBER = re.compile(r",(?=\d{1,2}\.[ \t]{0,3}[A-Z])")
QUOTE_ITEM = re.compile(r"(?:(?<=[.?!)\s])|^)[\"\u201c\u201d](?=\s*[A-Z0-9])", re.M)
BULLET = re.compile(
    r"(?<![ \t])[ \t]*[\u2022\u2023\u25cf\u25aa\u25a0\u25e6\u00b7\uf0b7][ \t]*(?=\S)"
)
"""Marks that are a list's wherever they stand in a line."""
DASH = re.compile(r"(?<=[.:;])[ \t]{1,4}[-*][ \t]+(?=[A-Z])")
"""The same of marks that are something else in most places."""


def plain(text: str) -> str:
    """The lines of a report.

    >>> plain("<b>FINDINGS:</b><br>Size &lt; 5&nbsp;cm.<ul><li>No bleed</li></ul>").split()
    ['FINDINGS:', 'Size', '<', '5', 'cm.', '-', 'No', 'bleed']
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _without_html(text)
    text = MOJIBAKE.sub(_mended, text)
    text = text.translate(INVISIBLE | SPACES | BREAKS | LIGATURES)
    text = BRACKETED.sub(r"\n\1:", text)
    text = HEAD_ROW.sub("", text)
    text = RULE.sub("", HEADING.sub("", text))
    text = ROW.sub(lambda row: _cells(row[1]), text)
    text = EMPHASIS.sub("", text)
    return _quoted_items(DASH.sub("\n- ", BULLET.sub("\n- ", _with_line_breaks(text))))


def _without_html(text: str) -> str:
    if not (TAG.search(text) or "<!--" in text or "&nbsp;" in text or "&lt;" in text):
        return text
    for begin, end in HIDDEN:
        text = _cut(text, begin, end)
    return html.unescape(TAG.sub(_tag, text)).replace("\r", "\n")


def _cut(text: str, begin: str, end: str) -> str:
    """Text without what stands between marks."""
    lower = text.lower()
    kept, done = [], 0
    while (start := lower.find(begin, done)) >= 0 and (stop := lower.find(end, start)) >= 0:
        kept.append(text[done:start])
        done = stop + len(end)
    return "".join([*kept, text[done:]])


def _tag(tag: re.Match[str]) -> str:
    name = tag[2].lower()
    if name == "li":
        return "\n" if tag[1] else "\n- "
    if name in {"td", "th"}:
        return "\t" if tag[1] else ""
    return "\n" if name in BLOCKS or re.fullmatch("h[1-6]", name) else ""


def _mended(broken: re.Match[str]) -> str:
    try:
        return broken[0].encode("cp1252").decode("utf-8")
    except UnicodeError:
        return broken[0]


def _cells(row: str) -> str:
    cells = [cell.strip() for cell in row.split("|")]
    name, rest = cells[0], [cell for cell in cells[1:] if cell]
    return f"{name}: {'; '.join(rest)}" if rest and name else "; ".join(rest) or name


def _with_line_breaks(text: str) -> str:
    """Line breaks put back where a data set has commas for them ("EXAM: , CT chest.,FINDINGS:")."""
    if not TITLE_COMMA.search(text) and len(JOINED.findall(text)) < MIN_JOINED:
        return text
    return LOST_BREAK.sub("\n\n", LOST_NUMBER.sub("\n\n", TITLE_END.sub(" ", text)))


def _quoted_items(text: str) -> str:
    """List items that begin with a bare quotation mark, as some exports have them."""
    marks = [mark.start() for mark in QUOTE_ITEM.finditer(text)]
    if not marks:
        return text
    kept, done = [], 0
    for mark, following in zip(marks, [*marks[1:], len(text)], strict=True):
        quoted = text[mark + 1 : following]
        if quoted[:1].isspace() or not re.search('["\u201d]', quoted):
            kept += [text[done:mark], "\n- "]
            done = mark + 1
    return "".join([*kept, text[done:]])
