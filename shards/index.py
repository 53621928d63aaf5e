"""The index: where every member of every sample lies, so that a scan is one read.

In: tars. Out: `SampleRef`s, and `index.parquet` with a row a member: key, split, patient, shard,
member, offset, length, array_offset, shape, dtype, codec, crc32c. The writer notes the addresses as
it writes; `build` finds them again from tars alone, by reading every byte once. In memory the index
stays in columns: a million studies of eight scans are a gigabyte of columns, and ten of objects.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, NamedTuple, SupportsIndex, cast, overload

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from shards import codec
from shards.store import Location, store_at

INDEX_FILE = "index.parquet"

ADDRESS_FIELDS = [
    pa.field("member", pa.string(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("length", pa.int64(), nullable=False),
    pa.field("array_offset", pa.int32(), nullable=False),
    pa.field("shape", pa.list_(pa.int32()), nullable=False),
    pa.field("dtype", pa.string(), nullable=False),
    pa.field("codec", pa.string(), nullable=False),
    pa.field("crc32c", pa.uint32(), nullable=False),
]
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        *ADDRESS_FIELDS,
    ]
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one member is in its tar, and what it holds."""

    member: str
    """Name in the tar."""
    offset: int
    """Of the payload (the file's first byte) from the start of the tar, in bytes."""
    length: int
    """Bytes of the payload, as stored."""
    array_offset: int
    """Of the array's data from the start of the (decompressed) payload; 0 for JSON."""
    shape: tuple[int, ...]
    """Of the array; empty for JSON."""
    dtype: str
    """Of numpy; empty for JSON."""
    codec: str
    """json, npy or npy.zst."""
    crc32c: int
    """Of the payload, as stored."""


@dataclass(frozen=True, slots=True)
class SampleRef:
    """One study of the dataset: which shard, and where in it."""

    key: str
    patient: str
    split: str
    shard: int
    metadata: Address
    scans: tuple[Address, ...]


class Samples(Sequence[SampleRef]):
    """Samples in the order of shard and offset: columns, of which a `SampleRef` is made when it is
    asked for. Equal to any sequence of equal samples."""

    def __init__(self, columns: _Columns, numbers: np.ndarray) -> None:
        self._columns, self._numbers = columns, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: SupportsIndex) -> SampleRef: ...
    @overload
    def __getitem__(self, place: slice) -> Samples: ...
    def __getitem__(self, place: SupportsIndex | slice) -> SampleRef | Samples:
        if isinstance(place, slice):
            return Samples(self._columns, self._numbers[place])
        return self._columns.sample(int(self._numbers[operator.index(place)]))

    def __iter__(self) -> Iterator[SampleRef]:
        return map(self._columns.sample, self._numbers.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    def chosen(self, places: np.ndarray) -> Samples:
        """Those at the given places (numbers, or a mask)."""
        return Samples(self._columns, self._numbers[places])

    def of_split(self, split: str) -> Samples:
        names, codes = self._columns.split
        known = names.index(split) if split in names else -1
        return self.chosen(codes[self._numbers] == known)

    def that_begin(self, prefix: str) -> Samples:
        """Those whose key begins so."""
        found = pc.starts_with(self._columns.key, pattern=prefix)
        return self.chosen(found.to_numpy(zero_copy_only=False)[self._numbers])

    def keys(self) -> list[str]:
        keys: list[str] = self._columns.key.take(pa.array(self._numbers)).to_pylist()
        return keys

    def shards(self) -> np.ndarray:
        """Shard of each, int64."""
        return self._columns.shard[self._numbers].astype(np.int64)

    def num_scans(self) -> np.ndarray:
        """Scans of each, int64."""
        first = self._columns.first
        return first[self._numbers + 1] - first[self._numbers] - 1

    def dtypes(self) -> set[str]:
        """Of all scans in the index."""
        names, codes = self._columns.dtype
        return {names[code] for code in np.unique(codes).tolist()} - {""}


Codes = tuple[list[str], np.ndarray]
"""Names, and which of them stands in each row."""


class _Columns(NamedTuple):
    """The index: values of samples, and values of rows (members)."""

    first: np.ndarray
    """Row at which each sample begins, and the number of rows."""
    key: pa.LargeStringArray
    patient: pa.LargeStringArray
    split: Codes
    shard: np.ndarray
    member: pa.LargeStringArray
    offset: np.ndarray
    length: np.ndarray
    array_offset: np.ndarray
    shape_first: np.ndarray
    """Where the sizes of each row's shape begin, and their number."""
    shape_sizes: np.ndarray
    dtype: Codes
    codec: Codes
    crc32c: np.ndarray

    def sample(self, number: int) -> SampleRef:
        start, end = int(self.first[number]), int(self.first[number + 1])
        rows, bounds = slice(start, end), self.shape_first[start : end + 1].tolist()
        sizes = (self.shape_sizes[a:b].tolist() for a, b in itertools.pairwise(bounds))
        metadata, *scans = map(
            Address,
            self.member[rows].to_pylist(),
            self.offset[rows].tolist(),
            self.length[rows].tolist(),
            self.array_offset[rows].tolist(),
            map(tuple, sizes),
            _names(self.dtype, rows),
            _names(self.codec, rows),
            self.crc32c[rows].tolist(),
        )
        names, codes = self.split
        return SampleRef(
            self.key[number].as_py(),
            self.patient[number].as_py(),
            names[codes[number]],
            int(self.shard[number]),
            metadata,
            tuple(scans),
        )


def address_of(member: str, offset: int, payload: bytes) -> Address:
    """Address of a payload at `offset`. ValueError (DecodeError) where an array's header cannot be
    read."""
    kind = codec.codec_of(member)
    start, dtype = 0, ""
    shape: tuple[int, ...] = ()
    if kind != "json":
        start, shape, kept = codec.npy_data_offset(_first_bytes(payload, kind))
        dtype = str(kept)
    crc32c = google_crc32c.value(payload)
    return Address(member, offset, len(payload), start, shape, dtype, kind, crc32c)


def load(dataset: Location, sha256: str = "") -> Samples:
    """Read `index.parquet`, in the order of shard and offset. ArrowInvalid where it is another
    table, or has another SHA-256 than the one given."""
    repeated = ["key", "patient", "split", "dtype", "codec"]
    with store_at(dataset).open(INDEX_FILE) as stream:
        if sha256:
            if hashlib.file_digest(cast(BufferedReader, stream), "sha256").hexdigest() != sha256:
                raise pa.ArrowInvalid("its SHA-256 is not that of dataset.json")
            stream.seek(0)
        table = pq.ParquetFile(stream, read_dictionary=repeated, pre_buffer=False).read(
            use_threads=False  # nor Arrow's threads: see sidecar.parsed
        )
    found = {field.name: getattr(field.type, "value_type", field.type) for field in table.schema}
    for field in SCHEMA:
        wanted = getattr(field.type, "value_type", field.type)
        if found.get(field.name) != wanted or table[field.name].null_count:
            raise pa.ArrowInvalid(f"column {field.name} is not what an index has")
    columns = _columns(table)
    del table
    pa.default_memory_pool().release_unused()  # as much again
    return Samples(columns, np.arange(len(columns.first) - 1))


def _first_bytes(payload: bytes, kind: str) -> bytes:
    """Enough of a (decompressed) payload to hold the header of its array."""
    if kind == codec.RAW:
        return payload[:1024]
    try:
        with zstandard.ZstdDecompressor().stream_reader(payload) as reader:
            return reader.read(1024)
    except zstandard.ZstdError as error:
        raise codec.DecodeError(f"not one zstd frame: {error}") from None


def address_row(address: Address) -> dict[str, Any]:
    """An address as a row or struct of Parquet."""
    return {field.name: getattr(address, field.name) for field in ADDRESS_FIELDS}


def address_from_row(row: dict[str, Any]) -> Address:
    """Inverse of `address_row`; other columns are ignored."""
    facts = {field.name: row[field.name] for field in ADDRESS_FIELDS}
    return Address(**{**facts, "shape": tuple(facts["shape"])})


def _columns(table: pa.Table) -> _Columns:
    """Rows of one sample follow each other, its metadata first."""
    codecs = _codes(table["codec"])
    is_first = codecs[1] == (codecs[0].index("json") if "json" in codecs[0] else -1)
    first = np.append(np.flatnonzero(is_first), len(table))
    of_sample = table.select(["key", "patient", "split", "shard"]).take(pa.array(first[:-1]))
    shapes = table["shape"].combine_chunks()
    shapes = shapes if isinstance(shapes, pa.ListArray) else pa.concat_arrays(shapes.chunks)
    return _Columns(
        first=first,
        key=_texts(of_sample["key"]),
        patient=_texts(of_sample["patient"]),
        split=_codes(of_sample["split"]),
        shard=of_sample["shard"].to_numpy(),
        member=_texts(table["member"]),
        offset=table["offset"].to_numpy(),
        length=table["length"].to_numpy(),
        array_offset=table["array_offset"].to_numpy(),
        shape_first=shapes.offsets.to_numpy(),
        shape_sizes=shapes.values.to_numpy(),
        dtype=_codes(table["dtype"]),
        codec=codecs,
        crc32c=table["crc32c"].to_numpy(),
    )


def _texts(column: pa.ChunkedArray) -> pa.LargeStringArray:
    return column.cast(pa.large_string()).combine_chunks()


def _codes(column: pa.ChunkedArray) -> Codes:
    """Of a column of few different texts."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.dictionary.to_pylist(), whole.indices.to_numpy().astype(np.int8)


def _names(column: Codes, rows: slice) -> list[str]:
    names, codes = column
    return [names[code] for code in codes[rows].tolist()]
