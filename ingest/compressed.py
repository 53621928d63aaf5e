"""Compressed streams, chunk by chunk: gzip, bzip2, xz.

In: a binary stream. Out: its bytes, as far as they are whole. The idea: what came out before a
break is handed over before the break is raised, and memory stays bounded whatever a header asks
for. Sources: RFC 1952, the bzip2 and xz file formats. `gzip.open` and its like lose what was
decoded ahead of an error and let an xz header choose how much memory it takes.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO, Protocol

from study.records import Reason, Rejection

CHUNK = 1 << 20
"""Bytes read, and bytes given out, at once."""
XZ_MEMORY = 1 << 28
"""Bytes that an xz stream may need; `xz -9` needs 65 MiB."""


class Compression(StrEnum):
    """How a file is compressed as a whole."""

    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"


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
    return None


def decompressed(stream: BinaryIO, kind: Compression, step: int = CHUNK) -> Iterator[bytes]:
    """Chunks of at most `step` bytes. Streams one after the other are one, as gzip has it.

    Raises DamagedStreamError after all that could be had, OSError where the stream cannot be read.
    """
    data = stream.read(CHUNK)
    while data:
        decoder = _decoder(kind)
        while not decoder.eof:
            try:
                chunk = decoder.decompress(data, step)
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise DamagedStreamError(Reason.UNREADABLE, f"{kind}: {error}") from None
            if chunk:
                yield chunk
            data = stream.read(CHUNK) if decoder.needs_input and not decoder.eof else b""
            if decoder.needs_input and not data and not chunk and not decoder.eof:
                raise DamagedStreamError(Reason.TRUNCATED, f"the {kind} stream is cut off")
        data = (decoder.unused_data or stream.read(CHUNK)).lstrip(b"\0")


class _Decoder(Protocol):
    """What bz2 and lzma decoders can do."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _decoder(kind: Compression) -> _Decoder:
    if kind is Compression.BZIP2:
        return bz2.BZ2Decompressor()
    if kind is Compression.XZ:
        return lzma.LZMADecompressor(memlimit=XZ_MEMORY)
    return _Gunzip()


class _Gunzip:
    """zlib's decoder with the manners of the other two."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)

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
