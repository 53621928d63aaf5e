"""USTAR archives, byte for byte the same from the same members.

In: names and payloads. Out: an uncompressed tar, and the offset of every payload in it. No time,
owner or host enters a header. Ends as GNU tar ends it: two zero blocks, padded to 10240 bytes.
Source: POSIX.1-1988 ustar; tarfile of the standard library builds the headers and reads them again.
"""

from __future__ import annotations

import hashlib
import tarfile
from typing import BinaryIO

BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * BLOCK)


def header_of(name: str, length: int) -> bytes:
    """The block before a payload: mtime, uid, gid 0, names empty, mode 0644 (tarfile's
    defaults)."""
    header = tarfile.TarInfo(name)
    header.size = length
    return header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


class TarWriter:
    """Appends members to a stream and hashes all that it writes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.length = 0
        """Bytes written so far."""

    def append(self, name: str, payload: bytes) -> int:
        """Write a member; returns the offset of its payload."""
        self._write(header_of(name, len(payload)))
        offset = self.length
        self._write(payload)
        self._write(bytes(-len(payload) % BLOCK))
        return offset

    def finish(self) -> str:
        """Write the end of the archive; returns the SHA-256 of the whole, hexadecimal."""
        self._write(_END)
        self._write(bytes(-self.length % tarfile.RECORDSIZE))
        return self._digest.hexdigest()

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self.length += len(data)
