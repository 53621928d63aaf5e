"""Zips as they come: encrypted, large, with links, with sizes that lie."""

from __future__ import annotations

import io
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard
from made_archives import FILES, bytes_of, noise, opened, verdicts, zip_bytes

from study.records import Reason, Rejection


def test_links_in_a_zip(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        out.writestr(link, "/etc/passwd")
        out.writestr("folder/", "")
        out.writestr("file", "abc")
    file, found = opened(tmp_path, buffer.getvalue())
    assert bytes_of(file, found) == {"file": b"abc"}
    assert verdicts(found) == {"link": Rejection(Reason.NOT_DICOM, "a symbolic link")}


def encrypted_zip() -> bytes:
    """Two members of which the second has the bit of encryption set, in both of its headers."""
    content = bytearray(zip_bytes({"plain": b"open" * 50, "secret": b"hidden" * 50}))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        second = content.index(signature, content.index(signature) + 1)
        content[second + flags] |= 1
    return bytes(content)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(encrypted_zip())) as theirs, pytest.raises(RuntimeError):
        theirs.read("secret")
    file, found = opened(tmp_path, encrypted_zip())
    assert bytes_of(file, found) == {"plain": b"open" * 50}
    assert verdicts(found) == {"secret": Rejection(Reason.UNREADABLE, "encrypted")}
    assert found.broken == Rejection(Reason.UNREADABLE, "encrypted members")


def test_an_unknown_compression_and_a_wrong_checksum(tmp_path: Path) -> None:
    _, found = opened(tmp_path, zip_bytes({"a": b"x" * 100}, zipfile.ZIP_LZMA))
    assert verdicts(found) == {"a": Rejection(Reason.UNREADABLE, "compression method 14 (lzma)")}
    content = bytearray(zip_bytes({"a": b"x" * 100, "b": b"y"}))
    place = content.index(b"PK\1\2") + 16
    content[place] ^= 1
    file, found = opened(tmp_path, bytes(content))
    assert verdicts(found) == {"a": Rejection(Reason.UNREADABLE, "the checksum is wrong")}
    assert bytes_of(file, found) == {"b": b"y"}


def test_zip64(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, data in FILES.items():
            with out.open(name, "w", force_zip64=True) as stream:
                stream.write(data)
    content = buffer.getvalue()
    file, found = opened(tmp_path, content)
    assert bytes_of(file, found) == FILES
    directory = content.rindex(b"PK\5\6")
    num_bytes, offset = struct.unpack_from("<II", content, directory + 12)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 12, 12, num_bytes, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, directory, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    file, found = opened(tmp_path, content[:directory] + record + locator + end)
    assert bytes_of(file, found) == FILES
    assert found.broken is None


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    content = bytearray(zip_bytes({"bomb": b"\0" * 3_000_000}))
    for signature, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", content, content.index(signature) + place, 10)
    _, found = opened(tmp_path, bytes(content), limit=1_000_000)
    assert found.broken is not None
    assert found.broken.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("method", "pack"), [(93, zstandard.ZstdCompressor().compress), (95, lzma.compress)]
)
def test_methods_that_zipfile_does_not_know(
    tmp_path: Path, method: int, pack: Callable[[bytes], bytes]
) -> None:
    plain = noise(5000) + bytes(3_000_000)
    content = bytearray(zip_bytes({"a": pack(plain), "b": b"y"}, zipfile.ZIP_STORED))
    for signature, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        start = content.index(signature)
        struct.pack_into("<H", content, start + at, method)
        struct.pack_into("<I", content, start + at + 6, zlib.crc32(plain))
        struct.pack_into("<I", content, start + at + 14, len(plain))
    file, found = opened(tmp_path, bytes(content))
    assert bytes_of(file, found) == {"a": plain, "b": b"y"}
    assert found.broken is None
    content[content.index(b"PK\3\4") + 200] ^= 0x55
    file, found = opened(tmp_path, bytes(content))
    assert bytes_of(file, found) == {"b": b"y"}
    assert verdicts(found)["a"].reason is Reason.UNREADABLE


def split_zip(files: Mapping[str, bytes], in_first: int) -> tuple[bytes, bytes]:
    """Two parts of a zip as APPNOTE 8.5 has them: the first holds `in_first` whole members, and
    half of the next."""
    content = b"PK\7\x08" + zip_bytes(files)
    places = [match.start() for match in re.finditer(b"PK\3\4", content)]
    cut = (places[in_first] + places[in_first + 1]) // 2
    first, last = content[:cut], bytearray(content[cut:])
    for place, match in zip(places, re.finditer(b"PK\1\2", last), strict=True):
        part = int(place >= cut)
        struct.pack_into("<H", last, match.start() + 34, part)
        struct.pack_into("<I", last, match.start() + 42, place - part * cut)
    end = last.rindex(b"PK\5\6")
    struct.pack_into("<HH", last, end + 4, 1, 1)
    struct.pack_into("<I", last, end + 16, last.index(b"PK\1\2"))
    return first, bytes(last)


def test_parts_of_a_split_zip(tmp_path: Path) -> None:
    """Members that are whole in a part are read, the others say why they are not."""
    first, last = split_zip(FILES, 5)
    names = list(FILES)
    file, found = opened(tmp_path, first)
    assert found.broken == Rejection(Reason.TRUNCATED, "the first part of a split zip")
    assert bytes_of(file, found) == {name: FILES[name] for name in names[:5]}
    assert list(verdicts(found)) == names[5:6]
    file, found = opened(tmp_path, last, name="a.zip")
    assert found.broken == Rejection(Reason.UNREADABLE, "the last part of a split zip")
    assert bytes_of(file, found) == {name: FILES[name] for name in names[6:]}
    other = Rejection(Reason.UNREADABLE, "in another part of a split zip")
    assert verdicts(found) == dict.fromkeys(names[:6], other)
    directory = last[last.index(b"PK\1\2") + 60 :]  # a directory that began in another part
    _, found = opened(tmp_path, directory, name="a.zip")
    assert found.members == ()
    assert found.broken == Rejection(Reason.UNREADABLE, "the last part of a split zip")
