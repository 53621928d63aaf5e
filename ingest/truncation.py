"""Whether a file ends before its pixel data does.

In: a stream, where the value of PixelData begins, and its length. Out: nothing, or `Truncated`.
Source: DICOM PS3.5 A.4 (encapsulated pixel data: fragments as items, then a sequence delimiter).
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
