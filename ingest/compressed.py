"""Compressed streams, chunk by chunk: gzip, bzip2, xz, zstd.

In: a binary stream. Out: its bytes, as far as they are whole. The idea: what came out before a
break is handed over before the break is raised, and memory stays bounded whatever a header asks
for. Sources: RFC 1952, RFC 8878, the bzip2 and xz file formats. `gzip.open` and its like lose what
was decoded ahead of an error and let an xz header choose how much memory it takes.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO, Protocol

import zstandard

from study.records import Reason, Rejection

CHUNK = 1 << 20
"""Bytes read, and bytes given out, at once."""
XZ_MEMORY = 1 << 28
"""Bytes that an xz stream may need; `xz -9` needs 65 MiB."""
ZSTD_PIECE = 1 << 10
"""Bytes that go into a zstd decoder at once: it gives out all that comes of them, at most 128 KiB
for a block of four bytes or more (RFC 8878, 3.1.1.2), so 32 MiB."""


BROKEN = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError)
"""What decoders raise over damaged data."""


class Compression(StrEnum):
    """How a file, or a member of a zip, is compressed."""

    DEFLATE = "deflate"
    """Without gzip's header: only in a zip."""
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"


class DamagedStreamError(Exception):
    """A stream ends too early or is not what it seems; `rejection` says which."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)


def compression_of(head: bytes) -> Compression | None:
    """What the first bytes of a file say; ten are enough."""
    if head.startswith(b"\x1f\x8b\x08"):
        return Compression.GZIP
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return Compression.BZIP2
    if head.startswith(b"\xfd7zXZ\x00"):
        return Compression.XZ
    is_skippable = head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5  # as pzstd writes it first
    if head.startswith(b"\x28\xb5\x2f\xfd") or is_skippable:
        return Compression.ZSTD
    return None


def decompressed(stream: BinaryIO, kind: Compression, step: int = CHUNK) -> Iterator[bytes]:
    """Chunks of at most `step` bytes. Streams one after the other are one, as gzip has it.

    Raises DamagedStreamError after all that could be had, OSError where the stream cannot be read.
    """
    data = stream.read(CHUNK)
    while data:
        decoder = decoder_of(kind)
        while not decoder.eof:
            try:
                chunk = decoder.decompress(data, step)
            except BROKEN as error:
                raise DamagedStreamError(Reason.UNREADABLE, f"{kind}: {error}") from None
            if chunk:
                yield chunk
            data = stream.read(CHUNK) if decoder.needs_input and not decoder.eof else b""
            if decoder.needs_input and not data and not chunk and not decoder.eof:
                raise DamagedStreamError(Reason.TRUNCATED, f"the {kind} stream is cut off")
        data = (decoder.unused_data or stream.read(CHUNK)).lstrip(b"\0")


def first_bytes(stream: BinaryIO, kind: Compression, count: int) -> bytes:
    """The first `count` bytes, or all there are, of what a compressed stream holds.

    Raises DamagedStreamError where there are fewer because the stream is broken.
    """
    found = b""
    for chunk in decompressed(stream, kind, count):
        found += chunk
        if len(found) >= count:
            break
    return found[:count]


class Decoder(Protocol):
    """What bz2 and lzma decoders can do. They are given data only when they need input."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def decoder_of(kind: Compression) -> Decoder:
    """A decoder of one stream. What it raises is in `BROKEN`."""
    if kind is Compression.BZIP2:
        return bz2.BZ2Decompressor()
    if kind is Compression.XZ:
        return lzma.LZMADecompressor(memlimit=XZ_MEMORY)
    if kind is Compression.ZSTD:
        return _Unzstd()
    return _Inflater(-zlib.MAX_WBITS if kind is Compression.DEFLATE else 16 + zlib.MAX_WBITS)


class _Inflater:
    """zlib's decoder with the manners of the other two."""

    def __init__(self, wbits: int) -> None:
        self._decoder = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _Unzstd:
    """zstandard's decoder with the same manners. A frame that needs a window of more than 128 MiB
    (`zstd --long=28`) is refused by the library."""

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor().decompressobj()
        self._packed, self._position, self._made = b"", 0, b""

    @property
    def eof(self) -> bool:
        return self._decoder.eof and not self._made

    @property
    def needs_input(self) -> bool:
        return self._position >= len(self._packed) and not self._made

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data + self._packed[self._position :]

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if data:
            assert self.needs_input
            self._packed, self._position = data, 0
        while not self._made and self._position < len(self._packed) and not self._decoder.eof:
            piece = self._packed[self._position : self._position + ZSTD_PIECE]
            self._position += len(piece)
            self._made = self._decoder.decompress(piece)
        end = len(self._made) if max_length < 0 else max_length
        made, self._made = self._made[:end], self._made[end:]
        return made
