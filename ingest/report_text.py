"""Bytes of a report -> its text, whatever they were written in; never an exception.

In: bytes of a .txt file or of a table's cell. Out: text without NULs, lines ended by a single line
feed. A byte-order mark or a pattern of NULs decides; else UTF-8 when it is valid; else the encoding
whose commonest characters, or whose languages' commonest words, are there; else Windows-1252.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 before UTF-16, whose mark its own begins with."""
SAMPLE = 1 << 16
"""Bytes that are looked at for anything but the validity of UTF-8."""
STRAY_NULS = 0.2
"""NULs that are less than this share of a text are dirt; in UTF-16 of a European language they are
half of it."""
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a]")
BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
PASTED = "dicom2clip.cp1252"
"""How bytes that are no UTF-8 within UTF-8 are read: as pasted from Windows-1252."""

JAPANESE = "のにはをがとでるれなすあいうしてたこまりめられっ、。：・ースラリン右左部認影性常"
COMMON: Mapping[str, str] = {
    "cp932": JAPANESE,
    "euc_jp": JAPANESE,
    "gb18030": "的一是不在有未见异常影双肺右左部性大小无及结节内外上下示正密度清晰，。、：；病变",
    "cp949": "이가은는을를의에서고다로하한있없및음소견우측좌양폐상정병변결절등되보관여시지도크증",
    "cp1251": "оеаинтсрвлкмдпуяыьгзбчй",
}
"""The commonest characters of a language and of its reports, by its encoding: decoded as anything
else, they are not there."""
LIKELY = 0.25
"""Share of the characters beyond ASCII that must be common ones; by chance it is near 0."""
CYRILLIC_RUN = re.compile(rb"[\xc0-\xff]{3,}")
"""Whole words of such bytes; accented letters of Latin script stand alone among others."""
MOSTLY = 0.6

TURKISH = (
    "ve bir ile olan bu her iki izlendi izlenmedi izlenmektedir normal sol alan alt toraks "
    "mevcuttur mevcut olarak bulgu bulgular akci sonu"
)
CENTRAL_EUROPEAN = (
    "nie oraz jest bez zmian na po lewej prawej stronie badanie obraz cech ogniskowych i z w do je "
    "v se jsou vlevo vpravo nebo ani nem egy az vagy jobb bal oldali nincs"
)
WESTERN = (
    "the of and is no in with der die das und kein keine nicht mit ist im des le la les et pas du "
    "est une dans el los las y sin en con se o e da do em sem com het de een geen il di och av er "
    "og ikke"
)
COMMON_WORDS: Mapping[str, frozenset[str]] = {
    "cp1252": frozenset(WESTERN.split()),
    "cp1254": frozenset(TURKISH.split()),
    "cp1250": frozenset(CENTRAL_EUROPEAN.split()),
}
"""Words without accents, which read the same in every one of these encodings. The first wins a
tie."""
WORD = re.compile(r"[^\W\d_]+")


def decode(data: bytes) -> str:
    """Text of any bytes.

    >>> decode("Größe: 3 cm".encode("cp1252"))
    'Größe: 3 cm'
    >>> decode("No bleed.\\r\\n".encode("utf-16"))
    'No bleed.\\n'
    """
    encoding = detect(data)
    text = data.decode(encoding, PASTED if encoding.startswith("utf-8") else "replace")
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def detect(data: bytes) -> str:
    """Name of the encoding of a text, or of its beginning (it may be cut within a character)."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return encoding
    sample = data[:SAMPLE]
    if CONTROL.search(sample):
        if wide := _wide(sample):
            return wide
        data = data.replace(b"\0", b"")
    if b"\x1b$" in sample and _decodes(sample, "iso2022_jp"):
        return "iso2022_jp"
    if _decodes(data, "utf-8") or _mostly_utf8(data):
        return "utf-8"
    first = BEYOND_ASCII.search(data)
    assert first is not None, "ASCII is UTF-8"
    start = max(0, first.start() - SAMPLE // 2)
    sample = data[start : start + SAMPLE]
    return _by_characters(sample) or _by_words(sample)


def _wide(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark; None when its NULs and control characters are dirt.

    European languages are told by where their NULs are, others by their commonest characters.
    """
    places = [sample[place::4].count(0) for place in range(4)]
    full = 0.9 * (len(sample) // 4)
    if full and places[3] >= full and places[2] >= full:
        return "utf-32-le"
    if full and places[0] >= full and places[1] >= full:
        return "utf-32-be"
    even, odd = places[0] + places[2], places[1] + places[3]
    if even + odd > STRAY_NULS * len(sample):
        wide = "utf-16-le" if odd > even else "utf-16-be"
        return wide if min(even, odd) * 10 < max(even, odd) and _decodes(sample, wide) else None
    shares = {
        wide: max(_share(sample.decode(wide, "ignore"), common) for common in COMMON.values())
        for wide in ("utf-16-le", "utf-16-be")
        if _decodes(sample, wide)
    }
    return _likeliest(shares)


def _mostly_utf8(data: bytes) -> bool:
    """Fewer stray bytes than characters of several bytes."""
    text = data.decode("utf-8", "replace")
    strays = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    return len(text) - len(text.encode("ascii", "ignore")) - strays > 2 * strays


def _decodes(sample: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _by_characters(sample: bytes) -> str | None:
    """The encoding in which most characters beyond ASCII are common ones of its language."""
    in_runs = sum(len(run) for run in CYRILLIC_RUN.findall(sample))
    is_cyrillic = in_runs > MOSTLY * len(BEYOND_ASCII.findall(sample))
    return _likeliest(
        {
            encoding: _share(sample.decode(encoding, "ignore"), common)
            for encoding, common in COMMON.items()
            if _decodes(sample, encoding) and (encoding != "cp1251" or is_cyrillic)
        }
    )


def _share(text: str, common: str) -> float:
    """Of the characters beyond ASCII, those that are common."""
    beyond = [character for character in text.lower() if not character.isascii()]
    return sum(character in common for character in beyond) / max(1, len(beyond))


def _likeliest(shares: Mapping[str, float]) -> str | None:
    best = max(shares, key=lambda encoding: shares[encoding], default=None)
    return best if best is not None and shares[best] > LIKELY else None


def _by_words(sample: bytes) -> str:
    """The single-byte encoding whose languages' commonest words are there."""
    words = WORD.findall(sample.decode("cp1252", "replace").lower())
    votes = {name: sum(w in common for w in words) for name, common in COMMON_WORDS.items()}
    return max(votes, key=lambda name: votes[name])


def _pasted(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(PASTED, _pasted)
