"""One look at every byte of a tar.

In: a tar, and the rows of the books that tell of its members. Out: its samples, each with what is
wrong with it; what is wrong between them; its SHA-256. All of it in one reading, with one member in
memory: hashed, its CRC-32C compared, decoded, checked against its schema. A CRC that any book gives
proves a payload; one that differs proves damage only if that book's own checksum is right.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from shards import codec, layout
from shards.index import Address, address_of
from shards.pieces import Piece, pieces
from shards.problem import Part, Problem
from shards.store import Store
from shards.tar import BLOCK


class Book(NamedTuple):
    """What a book says of the members of a tar: rows of `index.SCHEMA`."""

    rows: pa.Table
    is_proven: bool
    """Its own checksum is right."""


@dataclass
class Sample:
    """A study as it lies in a tar, damaged or not."""

    key: str
    start: int
    """From the header of its first member to the padding of its last, in bytes."""
    end: int
    meta: dict[str, Any] | None = None
    """KEY.json, where it keeps its schema."""
    members: list[Address] = field(default_factory=list)
    """Those that can be read."""
    num_members: int = 0
    """All that are there."""
    problems: list[Problem] = field(default_factory=list)
    is_bad: bool = False
    """Its payloads cannot be had from these bytes. Damage to a header or to padding can be
    undone."""
    is_vouched: bool = True
    """A book gives the CRC of every member as it is."""
    is_disputed: bool = False
    """All books that know some member give another CRC, but none of them is proven."""


class Examination:
    """One tar, to be gone through once: first `samples`, then the other fields are valid."""

    def __init__(
        self,
        place: Store,
        name: str,
        size: int,
        books: Iterable[Book],
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.problems: list[Problem] = []
        """Of no sample."""
        self.strays: list[tuple[int, int]] = []
        """Stretches of bytes that belong to no member."""
        self._place, self._name, self._size = place, name, size
        self._digest, self._on_bytes = hashlib.sha256(), on_bytes
        self._expected: dict[int, tuple[str, int]] = {}
        self._crcs: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        self._proven: set[str] = set()
        for rows, is_proven in sorted(books, key=lambda book: book.is_proven):
            names = ("member", "offset", "length", "crc32c")
            columns = [rows[column].to_pylist() for column in names]
            for member, offset, length, crc in zip(*columns, strict=True):
                self._expected[offset - BLOCK] = (member, length)
                self._crcs[member].add((length, crc))
                if is_proven:
                    self._proven.add(member)

    @property
    def sha256(self) -> str:
        """Of the whole file, hexadecimal."""
        return self._digest.hexdigest()

    def samples(self) -> Iterator[Sample]:
        """Samples in the order of the tar, good and bad."""
        sample: Sample | None = None
        with self._place.open(self._name) as stream:
            hashed = _Hashed(stream, self._digest.update, self._on_bytes)
            for piece in pieces(hashed, self._size, self._expected):
                key, scan = self._parsed(piece)
                if sample is None or key != sample.key or scan is None:
                    if sample is not None:
                        yield self._closed(sample)
                    sample = Sample(key, piece.start, piece.end) if key else None
                if sample is not None:
                    self._add(sample, piece, scan)
        if sample is not None:
            yield self._closed(sample)

    def _parsed(self, piece: Piece) -> tuple[str, int | None]:
        """Key and scan of a member; an empty key for what belongs to no sample, which is noted."""
        if piece.name:
            try:
                return layout.parse_member(piece.name)
            except ValueError as error:
                self.problems.append(Problem(self._name, str(error), member=piece.name))
        if piece.end > piece.start and (piece.problems or piece.name):
            self.strays.append((piece.start, piece.end))
        self.problems += [Problem(self._name, what, part=part) for part, what in piece.problems]
        return "", None

    def _add(self, sample: Sample, piece: Piece, scan: int | None) -> None:
        number, sample.end = sample.num_members, piece.end
        sample.num_members += 1
        for part, what in piece.problems:
            self._blame(sample, piece.name, what, part, is_bad=part is Part.PAYLOAD)
        if scan != (number - 1 if number else None):
            self._blame(sample, piece.name, "the members before it are missing")
        try:
            address = address_of(piece.name, piece.offset, piece.payload)
            sample.members.append(address)
            self._check_crc(sample, address)
            if scan is None:
                sample.meta = _metadata(piece.payload, sample.key)
            elif sample.meta is not None:
                _check_scan(piece.payload, address, sample.meta["scans"], scan)
        except ValueError as error:
            if not any(p.member == piece.name and p.part is Part.PAYLOAD for p in sample.problems):
                self._blame(sample, piece.name, str(error), Part.PAYLOAD)
            sample.is_bad = True

    def _check_crc(self, sample: Sample, address: Address) -> None:
        known = self._crcs.get(address.member, set())
        if (address.length, address.crc32c) in known:
            return
        sample.is_vouched, sample.is_disputed = False, sample.is_disputed or bool(known)
        if address.member in self._proven:
            told = " or ".join(f"{crc:08x} of {length} bytes" for length, crc in sorted(known))
            raise ValueError(
                f"crc32c is {address.crc32c:08x} of {address.length} bytes, the books say {told}"
            )

    def _closed(self, sample: Sample) -> Sample:
        if sample.meta is None:
            sample.is_bad = True
            if not sample.problems:
                self._blame(sample, "", "it has no metadata")
        elif sample.num_members != 1 + len(sample.meta["scans"]):
            told = f"{len(sample.meta['scans'])} scans, {sample.num_members - 1} are there"
            self._blame(sample, "", f"its metadata tells of {told}")
        return sample

    def _blame(
        self,
        sample: Sample,
        member: str,
        what: str,
        part: Part | None = None,
        *,
        is_bad: bool = True,
    ) -> None:
        sample.problems.append(Problem(self._name, what, sample.key, member, part))
        sample.is_bad |= is_bad


class _Hashed:
    """A stream that hashes what is read from it."""

    def __init__(
        self, stream: io.BufferedIOBase | Any, *uses: Callable[[Any], None] | Callable[[int], None]
    ) -> None:
        self._stream, (self._hash, self._count) = stream, uses

    def read(self, count: int) -> bytes:
        data: bytes = self._stream.read(count)
        self._hash(data)  # type: ignore[arg-type]
        self._count(len(data))
        return data


def _metadata(payload: bytes, key: str) -> dict[str, Any]:
    """KEY.json. ValueError where it is none, or not that of `key`."""
    try:
        meta = json.loads(payload)
        layout.StudyMeta.model_validate(meta)
    except ValidationError as error:
        first = error.errors()[0]
        field_ = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"not the metadata of a study: {field_}: {first['msg']}") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if meta["key"] != key:
        raise ValueError("it is the metadata of another study")
    if meta["schema_version"] != layout.SCHEMA_VERSION:
        raise ValueError(f"schema version {meta['schema_version']}")
    return dict(meta)


def _check_scan(payload: bytes, address: Address, scans: list[Any], scan: int) -> None:
    """ValueError unless a member decodes to the array that the metadata tells of."""
    if scan >= len(scans):
        raise ValueError("the metadata does not tell of it")
    shape, dtype = tuple(scans[scan]["shape"]), scans[scan]["dtype"]
    if (address.shape, address.dtype) != (shape, dtype):
        found = f"{address.dtype} {address.shape}"
        raise ValueError(f"array of {found}, its metadata says {dtype} {shape}")
    num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if address.codec == codec.ZSTD:
        codec.decompress_into(
            np.frombuffer(payload, np.uint8), np.empty(shape, dtype), address.array_offset
        )
    elif len(payload) != address.array_offset + num_bytes:
        raise ValueError(f"{len(payload)} bytes do not hold {dtype} {shape}")
