"""The index: where every member of every sample lies, so that a scan is one read.

In: tars. Out: `SampleRef`s, and `index.parquet` with a row a member: key, split, patient, shard,
member, offset, length, array_offset, shape, dtype, codec, crc32c. The writer notes the addresses as
it writes; `build` finds them again from tars alone, by reading every byte once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from shards import codec, commit, layout, tar
from shards.store import Location, Store, store_at

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


def build(dataset: Location, shards: Iterable[int]) -> list[SampleRef]:
    """Samples of the given shards, from their tars alone.

    ValueError where a tar is broken or holds something else than samples; it names tar and member.
    """
    place = store_at(dataset)
    return [sample for shard in sorted(shards) for sample in _samples_of_tar(place, shard)]


def latest(samples: Iterable[SampleRef]) -> list[SampleRef]:
    """Without superseded samples: of samples with one key the one in the highest shard stays."""
    newest: dict[str, SampleRef] = {}
    for sample in sorted(samples, key=lambda s: (s.shard, s.metadata.offset)):
        newest[sample.key] = sample
    return sorted(newest.values(), key=lambda s: (s.shard, s.metadata.offset))


def save(dataset: Location, samples: Iterable[SampleRef]) -> None:
    """Write `index.parquet`, rows by shard and offset."""
    new = store_at(dataset).create(INDEX_FILE)
    try:
        pq.write_table(_to_table(samples), new.stream, compression="zstd")
        new.publish()
    finally:
        new.discard()


def load(dataset: Location) -> list[SampleRef]:
    """Read `index.parquet`, in the order of shard and offset."""
    with store_at(dataset).open(INDEX_FILE) as stream:
        return list(_from_table(pq.read_table(stream, schema=SCHEMA)))


def disagreements(dataset: Location) -> list[str]:
    """What `index.parquet` says otherwise than the tars it names; empty when they agree."""
    indexed = load(dataset)
    shards = {sample.shard for sample in indexed}
    found = {(s.shard, s.key): s for s in build(dataset, shards)}
    problems = []
    for sample in indexed:
        actual = found.get((sample.shard, sample.key))
        if actual is None:
            problems.append(f"{commit.tar_name(sample.shard)}: {sample.key} is not there")
        elif actual != sample:
            problems.append(
                f"{commit.tar_name(sample.shard)}: {sample.key} lies or reads otherwise"
            )
    known = {sample.key for sample in indexed}
    missing = [sample for sample in found.values() if sample.key not in known]
    problems += [f"{commit.tar_name(s.shard)}: {s.key} is not in the index" for s in missing]
    return problems


def _samples_of_tar(place: Store, shard: int) -> Iterator[SampleRef]:
    file = commit.tar_name(shard)
    with place.open(file) as stream:
        walk = tar.members(stream, file)
        member = next(walk, None)
        while member is not None:
            key, scan = _parsed(file, member)
            if scan is not None:
                raise ValueError(f"{file}, member {member.name}: no {key}.json comes before it")
            metadata, payload = _read(file, stream, member)
            meta = json.loads(payload)
            scans: list[Address] = []
            member = next(walk, None)
            while member is not None and _parsed(file, member) == (key, len(scans)):
                scans.append(_read(file, stream, member)[0])
                member = next(walk, None)
            if meta.get("key") != key or len(scans) != len(meta.get("scans", ())):
                raise ValueError(f"{file}, study {key}: {len(scans)} scans, its metadata differs")
            yield SampleRef(key, meta["patient"], meta["split"], shard, metadata, tuple(scans))


def _parsed(file: str, member: tar.Member) -> tuple[str, int | None]:
    try:
        return layout.parse_member(member.name)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _read(file: str, stream: BinaryIO, member: tar.Member) -> tuple[Address, bytes]:
    stream.seek(member.offset)
    payload = stream.read(member.length)
    try:
        return address_of(member.name, member.offset, payload), payload
    except ValueError as error:
        raise ValueError(f"{file}, member {member.name}: {error}") from None


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


def _to_table(samples: Iterable[SampleRef]) -> pa.Table:
    rows = []
    for sample in samples:
        same = {
            "key": sample.key,
            "split": sample.split,
            "patient": sample.patient,
            "shard": sample.shard,
        }
        rows += [{**same, **address_row(address)} for address in (sample.metadata, *sample.scans)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _from_table(table: pa.Table) -> Iterator[SampleRef]:
    """Rows of one sample follow each other, its metadata first."""
    rows = table.to_pylist()
    is_first = np.array([row["codec"] == "json" for row in rows], dtype=bool)
    starts = [*np.flatnonzero(is_first).tolist(), len(rows)]
    for start, end in itertools.pairwise(starts):
        first = rows[start]
        metadata, *scans = (address_from_row(row) for row in rows[start:end])
        yield SampleRef(
            first["key"], first["patient"], first["split"], first["shard"], metadata, tuple(scans)
        )
