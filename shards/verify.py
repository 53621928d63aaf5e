"""Proof that a dataset's bytes are what its books say.

In: the folder of a finished dataset. Out: problems, each naming shard, and key, member and offset
where one is to blame. Commit records against files (size, SHA-256), the index against the tars' own
headers, and every member: CRC, decoding, schema.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import cast

from shards import commit, layout, tar
from shards.commit import ShardStats
from shards.index import SampleRef
from shards.reader import CorruptSample, Dataset
from shards.store import Store


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    where: str
    """File of the dataset."""
    what: str


def verify_shards(dataset: Dataset) -> Iterator[tuple[int, list[Problem]]]:
    """Every shard's number, as soon as it is read, with its problems."""
    done = commit.committed(dataset.store)
    refs: defaultdict[int, list[SampleRef]] = defaultdict(list)
    for ref in dataset.samples():
        refs[ref.shard].append(ref)
    known = {ref.key for found in refs.values() for ref in found}
    for shard in shard_numbers(dataset):
        problems = [*_files(dataset, shard, done.get(shard))]
        problems += _members(dataset, shard, refs[shard], known)
        problems += _samples(dataset, refs[shard])
        yield shard, problems


def shard_numbers(dataset: Dataset) -> list[int]:
    """Shards that are committed or that the index names."""
    return sorted({*commit.committed(dataset.store), *(ref.shard for ref in dataset.samples())})


def _files(dataset: Dataset, shard: int, stats: ShardStats | None) -> Iterator[Problem]:
    if stats is None:
        missing = "no commit record that agrees with the sizes of its files"
        yield Problem(layout.shard_stem(shard), missing)
        return
    files = [(commit.parquet_name(shard), stats.parquet_sha256)]
    if stats.tar_bytes:
        files.append((commit.tar_name(shard), stats.tar_sha256))
    for name, sha256 in files:
        if _sha256(dataset.store, name) != sha256:
            yield Problem(name, "SHA-256 is not that of the commit record")


def _members(
    dataset: Dataset, shard: int, refs: Sequence[SampleRef], known: Set[str]
) -> Iterator[Problem]:
    """The index and the headers of the tar must tell of the same members; the tar may hold
    superseded samples besides, whose keys the index knows from another shard."""
    file = commit.tar_name(shard)
    if dataset.store.size(file) is None:
        return
    try:
        with dataset.store.open(file) as stream:
            walk = tar.members(stream, file)
            found = {member.name: (member.offset, member.length) for member in walk}
        keys = {name: layout.parse_member(name)[0] for name in found}
    except ValueError as error:
        yield Problem(file, str(error))
        return
    for ref in refs:
        for address in (ref.metadata, *ref.scans):
            if found.get(address.member) != (address.offset, address.length):
                disagree = f"the index and the tar disagree on {address.member}"
                yield Problem(file, f"study {ref.key}: {disagree}")
    for name, key in keys.items():
        if key not in known:
            yield Problem(file, f"member {name} is not in the index")


def _samples(dataset: Dataset, refs: Sequence[SampleRef]) -> Iterator[Problem]:
    for ref in refs:
        try:
            dataset.read_study(ref)
        except CorruptSample as error:
            yield Problem(error.shard, str(error))


def _sha256(store: Store, name: str) -> str:
    with store.open(name) as stream:
        return hashlib.file_digest(cast(io.BufferedReader, stream), "sha256").hexdigest()
