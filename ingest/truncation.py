"""Whether a file ends before its pixel data, or already its file meta information, does.

In: a stream, where the value of PixelData begins, and its length. Out: nothing, or `Truncated`.
Source: DICOM PS3.5 A.4 (encapsulated pixel data: fragments as items, then a sequence delimiter),
PS3.10 7.1 (file meta information: its first element says how long the others are).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

SEQUENCE_END = b"\xfe\xff\xdd\xe0"
ITEM = b"\xfe\xff\x00\xe0"
TAIL = 4096
"""Bytes at the end of a file in which the end of encapsulated pixels is looked for at first."""


class Truncated(EOFError):
    """Fewer bytes in the file than its elements announce."""


PREAMBLE = 132
"""Bytes up to the end of "DICM"."""
META_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
"""(0002,0000): how many bytes of file meta information follow."""


def check_meta(stream: BinaryIO, size: int) -> None:
    """Raise Truncated when a file of `size` bytes ends within its file meta information. What is
    cut there may look like an object of another class, or of none."""
    stream.seek(0)
    head = stream.read(PREAMBLE + 12)
    stream.seek(0)
    if head[PREAMBLE - 4 :][:4] != b"DICM" or len(head) == PREAMBLE:
        return
    if len(head) < PREAMBLE + 12:
        raise Truncated("ends within its file meta information")
    length = struct.unpack("<I", head[-4:])[0]
    if head[PREAMBLE : PREAMBLE + 8] == META_LENGTH and len(head) + length > size:
        raise Truncated("ends within its file meta information")


def check_whole(stream: BinaryIO, start: int, length: int, size: int) -> None:
    """Raise Truncated when a file of `size` bytes ends before the pixel data at `start`.

    `length` is -1 for encapsulated pixels: they end with a sequence delimiter. It is nearly always
    near the file's end; else the fragments are followed to it.
    """
    if length >= 0:
        if start + length > size:
            raise Truncated(f"{start + length - size} bytes of pixel data are missing")
        return
    stream.seek(max(start, size - TAIL))
    if SEQUENCE_END not in stream.read(TAIL) and not _fragments_end(stream, start, size):
        raise Truncated("encapsulated pixel data has no end")


def _fragments_end(stream: BinaryIO, position: int, size: int) -> bool:
    while position + 8 <= size:
        stream.seek(position)
        head = stream.read(8)
        if head[:4] != ITEM or len(head) < 8:
            return head[:4] == SEQUENCE_END
        position += 8 + struct.unpack_from("<I", head, 4)[0]
    return False
