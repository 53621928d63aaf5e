"""The index put together the plain way, by tarfile alone: what that of the program is held against.

In: tars of a folder or URL. Out: `SampleRef`s, and `index.parquet`.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from shards import commit, layout
from shards.index import INDEX_FILE, SCHEMA, Address, SampleRef, address_of, address_row
from shards.store import Location, Store, store_at


def build(dataset: Location, shards: Iterable[int]) -> list[SampleRef]:
    """Samples of some shards, in their order."""
    place = store_at(dataset)
    return [sample for shard in sorted(shards) for sample in _samples_of_tar(place, shard)]


def latest(samples: Iterable[SampleRef]) -> list[SampleRef]:
    """Of samples with one key the one in the highest shard."""
    newest: dict[str, SampleRef] = {}
    for sample in sorted(samples, key=lambda s: (s.shard, s.metadata.offset)):
        newest[sample.key] = sample
    return sorted(newest.values(), key=lambda s: (s.shard, s.metadata.offset))


def save(dataset: Location, samples: Iterable[SampleRef]) -> None:
    """Write `index.parquet`, rows in the order of the samples."""
    rows = [
        {
            "key": sample.key,
            "split": sample.split,
            "patient": sample.patient,
            "shard": sample.shard,
            **address_row(address),
        }
        for sample in samples
        for address in (sample.metadata, *sample.scans)
    ]
    new = store_at(dataset).create(INDEX_FILE)
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), new.stream, compression="zstd")
        new.publish()
    finally:
        new.discard()


def _samples_of_tar(place: Store, shard: int) -> Iterator[SampleRef]:
    found: dict[str, list[Address]] = {}
    facts = {}
    with (
        place.open(commit.tar_name(shard)) as stream,
        tarfile.open(fileobj=stream, mode="r:") as archive,
    ):
        for member in archive:
            payload = archive.extractfile(member).read()  # type: ignore[union-attr]
            key, scan = layout.parse_member(member.name)
            if scan is None:
                facts[key] = json.loads(payload)
            found.setdefault(key, []).append(address_of(member.name, member.offset_data, payload))
    for key, (metadata, *scans) in found.items():
        meta = facts[key]
        yield SampleRef(key, meta["patient"], meta["split"], shard, metadata, tuple(scans))
