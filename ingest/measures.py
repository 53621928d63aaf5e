"""Numbers of a report, whatever their unit and spelling, as values that can be compared.

In: folded lower-case text. Out: the text with every number, level and date replaced by a token
`#kind:value`: lengths in mm, volumes in ml, spinal levels in full (`l4-5` is `l4-l5`), grades and
counts bare, dates marked as such because they are no findings. Numbers of one measurement
(`3.5 x 2.1 cm`) share their unit.
"""

from __future__ import annotations

import re


def numbered(words: str, start: int = 1) -> dict[str, int]:
    return {word: value for value, word in enumerate(words.split(), start)}


COUNTS = numbered(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty",
    start=2,
)
ORDINALS = numbered(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
)
ROMAN = numbered("i ii iii iv v vi vii viii ix x xi xii")
UNITS = {
    "mm": ("mm", 1.0), "millimeter": ("mm", 1.0), "millimetre": ("mm", 1.0),
    "cm": ("mm", 10.0), "centimeter": ("mm", 10.0), "centimetre": ("mm", 10.0),
    "ml": ("ml", 1.0), "cc": ("ml", 1.0), "milliliter": ("ml", 1.0), "cm3": ("ml", 1.0),
    "l": ("ml", 1000.0), "liter": ("ml", 1000.0), "litre": ("ml", 1000.0),
    "hu": ("hu", 1.0), "hounsfield unit": ("hu", 1.0), "%": ("%", 1.0), "percent": ("%", 1.0),
    "per cent": ("%", 1.0), "degree": ("deg", 1.0), "\u00b0": ("deg", 1.0),
    "year": ("year", 1.0), "month": ("month", 1.0), "week": ("week", 1.0), "day": ("day", 1.0),
    "hour": ("hour", 1.0), "g": ("g", 1.0), "mg": ("mg", 1.0), "ms": ("ms", 1.0),
}  # fmt: skip
"""Unit as written: canonical unit and factor."""
UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
GRADED = (
    "level|segment|grade|type|stage|class|category|bosniak|fazekas|modic|zone|group|li-?rads|"
    "pi-?rads|bi-?rads|ti-?rads|lung-?rads|stanford|goutallier|score|fisher|pfirrmann|cad-?rads"
)

DATE = re.compile(
    r"\b\d{1,2}[/.-]\d{1,2}[/.-](?:\d{4}|\d{2})\b|\b\d{4}-\d{2}-\d{2}\b|\b(?:19|20)\d\d\b"
    r"(?!\s*(?:mm|cm|ml|cc|hu)\b)|\b\d{1,2}/\d{2}\b(?=[ ,.;)]|$)|\b\d{1,2}:\d\d(?::\d\d)?\b"
)
SEQUENCE = (
    r"t[12][ /-]*(?:flair|stir|hyper|hypo|iso|signal|bright|dark|weight|w\b|prolong|shad|shine|"
    r"intens|abnormal|high|low|increas|foc|lesion|and t2|t2|,|without|with|post|sequence|image)"
)
"""T1 and T2 that are no vertebrae."""
LEVEL = re.compile(
    rf"(?<!:)(?<!\bon )(?!{SEQUENCE})"
    r"\b([ctls])\s?(\d{1,2})(?:\s*[-/]\s*([ctls])?\s?(\d{1,2}))?\b(?!\s?(?:mm|cm))"
)
COUNT = re.compile(rf"\b(?:{'|'.join(sorted(COUNTS, key=len, reverse=True))})\b")
ORDINAL = re.compile(rf"\b(?:(\d{{1,2}})(?:st|nd|rd|th)|({'|'.join(ORDINALS)}))\b")
VERTEBRA = re.compile(
    rf"\b(?:(\d{{1,2}})(?:st|nd|rd|th)|({'|'.join(ORDINALS)})) (cervical|thoracic|lumbar|sacral)"
    r"(?= vertebra| nerve| root| level)"
)
ROMAN_GRADE = re.compile(
    rf"\b({GRADED})s?([\s-]*(?:type|class|category|grade|level)?[\s-]*)"
    rf"(i{{1,3}}|iv|vi{{0,3}}|ix|xi{{0,2}}|x)([a-c]?)\b"
)
DIGIT_GRADE = re.compile(rf"\b((?:{GRADED})s?[\s-]*)(\d{{1,2}}[a-c]?)\b(?!\s?(?:mm|cm|ml|%))")
LETTER_GRADE = re.compile(r"\b(type|grade|class|category|stage|group)[\s-]([a-e])\b")
NUMBER = r"\d+(?:[.,]\d+)?"
MEASURE = re.compile(
    rf"(?<![\w.#:]){NUMBER}(?:[\s-]*(?:{UNIT})s?(?![a-z]))?"
    rf"(?:\s*(?:x|by|to|and|or|-|,|/|\s[a-z]{{2,16}}\s+x)\s*{NUMBER}(?:[\s-]*(?:{UNIT})s?(?![a-z]))?)*"
    rf"(?![\w]|[.,]\d)|(?<![\w.#:]){NUMBER}(?=mm|cm|ml|cc|hu)"
)
ONE = re.compile(rf"({NUMBER})(?:[\s-]*({UNIT})s?(?![a-z]))?")


ANY = re.compile(
    rf"\d|centimet|\b(?:one|{'|'.join([*COUNTS, *ORDINALS])})\b"
    rf"|\b(?:{GRADED})s?[\s-]*[ivxa-e]{{1,4}}\b"
)
"""What a text without any number lacks."""


def marked(text: str) -> str:
    """Text with its numbers as tokens.

    >>> marked("a 2.1 x 3 cm mass at l4-5 and two cysts")
    'a  #mm:21  #mm:30  mass at  #level:l4-l5  and  #n:2  cysts'
    """
    if not ANY.search(text):
        return text
    text = re.sub(r":(?=\d)", ": ", DATE.sub(" #date ", text))
    text = ROMAN_GRADE.sub(lambda m: f"{m[1]}{m[2]} #n:{ROMAN[m[3]]}{m[4]} ", text)
    text = DIGIT_GRADE.sub(r"\1 #n:\2 ", text)
    text = re.sub(r"\b(first|second|third)[- ]degree\b", _degree, text)
    text = LETTER_GRADE.sub(lambda m: f"{m[1]} #n:{m[2]} ", text)
    text = re.sub(r"\b(?:sub-?centimet(?:er|re)|milli-?metric)\b", "small", text)
    text = COUNT.sub(lambda m: str(COUNTS[m[0]]), text)
    text = re.sub(r"\b(?:a|another) second\b", "another", text)
    text = VERTEBRA.sub(_vertebra, text)
    text = ORDINAL.sub(lambda m: f" #ord:o{m[1] or ORDINALS[m[2]]} ", text)
    text = re.sub(rf"\bone(?=[\s-](?:{UNIT})\b)", "1", text)
    text = LEVEL.sub(_level, text)
    text = re.sub(r"(\b\d+)([a-c])\b", r" #n:\1\2 ", text)
    return MEASURE.sub(_measure, text)


def _degree(match: re.Match[str]) -> str:
    return f"grade #n:{ORDINALS[match[1]]} "


def _vertebra(match: re.Match[str]) -> str:
    number = match[1] or ORDINALS[match[2]]
    return f" #level:{match[3][0]}{number} "


def _level(match: re.Match[str]) -> str:
    first, upper, second, lower = match.groups()
    if lower is None:
        return f" #level:{first}{upper} "
    return f" #level:{first}{upper}-{second or first}{lower} "


def _measure(match: re.Match[str]) -> str:
    """Every number in canonical units; one without a unit takes that of the next that has one."""
    values = [(_value(number), unit) for number, unit in ONE.findall(match[0])]
    last = next((unit for _, unit in reversed(values) if unit), "")
    words = []
    for value, unit in reversed(values):
        last = unit or last
        name, factor = UNITS[last] if last else ("n", 1.0)
        words.append(f"#{name}:{value * factor:.6g}")
    return " " + "  ".join(reversed(words)) + " "


def _value(number: str) -> float:
    """The number; a comma before three digits groups thousands, any other is a decimal comma."""
    whole, _, rest = number.partition(",")
    if rest and len(rest) == 3 and whole != "0":
        return float(whole + rest)
    return float(number.replace(",", "."))
