"""What is in the committed shards, in one go over their tables.

In: the Parquet tables of shards. Out: counts, and the rows of `index.parquet`, shard by shard, in
Arrow: memory holds a line a study (key, patient, split) and the tables of a few shards, so that a
million studies of ten scans are counted in less than 2 GB. Of rows with one key, the one in the
highest shard counts, also where it is a rejection; the others are superseded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards import index, sidecar
from shards.commit import READERS
from shards.store import Store
from study.records import Status

AHEAD = 4 * READERS
"""Tables held at a time while they are read in parallel."""
_ROWS = ("key", "patient", "split", "modalities", "members")


@dataclass(frozen=True)
class Survey:
    """Which samples there are, before their members are looked at."""

    is_latest: dict[int, np.ndarray]
    """Shard -> of every sample in it, in the order of its table: no later shard has its key."""
    num_samples: int
    """Superseded ones not counted."""
    num_superseded: int
    """Samples and rejected studies of which a later shard has a newer version."""
    num_patients: int
    by_split: dict[str, int]
    by_reason: dict[str, int]
    """Reason -> rejected studies, superseded ones not counted."""


@dataclass
class Counts:
    """What the members tell, added up while their rows go by."""

    num_scans: int = 0
    by_modality: Counter[str] = field(default_factory=Counter)
    shapes: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """(D, H, W) of every scan; None where they differ or there is none."""
        if len(self.shapes) != 1:
            return None
        (depth, height, width) = next(iter(self.shapes))
        return depth, height, width


def survey(place: Store, shards: Iterable[int]) -> Survey:
    """Look at the keys, patients and splits of all studies. ValueError where a patient's samples
    are in more than one split."""
    numbers = sorted(shards)
    names = ("key", "patient", "split", "status", "reason")
    tables = [table for _, table in _tables(place, numbers, names)]
    every = pa.concat_tables(tables) if tables else pa.table({name: [] for name in names})
    keys, _ = _coded(every["key"])
    newest = np.zeros(keys.max(initial=-1) + 1, np.int64)
    newest[keys] = np.arange(len(keys))  # the last of equal ones stays
    is_last = newest[keys] == np.arange(len(keys))
    is_used = pc.equal(every["status"].cast(pa.string()), str(Status.USED)).to_numpy().astype(bool)
    is_latest = is_last[is_used]
    samples = every.filter(pa.array(is_used & is_last))
    rejected = every.filter(pa.array(~is_used & is_last))
    patients, patient_names = _coded(samples["patient"])
    splits, split_names = _coded(samples["split"])
    _check_splits(patients, splits, patient_names)
    counted = np.bincount(splits, minlength=len(split_names)).tolist()
    shard_of_row = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    lengths = np.bincount(shard_of_row[is_used], minlength=len(tables))
    parts = np.split(is_latest, np.cumsum(lengths)[:-1]) if tables else []
    return Survey(
        is_latest=dict(zip(numbers, parts, strict=True)),
        num_samples=int(is_latest.sum()),
        num_superseded=int((~is_last).sum()),
        num_patients=len(patient_names),
        by_split=dict(sorted(zip(split_names.to_pylist(), counted, strict=True))),
        by_reason=dict(sorted(Counter(rejected["reason"].to_pylist()).items())),
    )


def index_rows(place: Store, found: Survey, counts: Counts) -> Iterator[tuple[int, pa.Table]]:
    """Every shard's number with its rows of the index (`index.SCHEMA`), which `counts` counts."""
    for shard, table in _used(place, sorted(found.is_latest), _ROWS):
        kept = table.filter(pa.array(found.is_latest[shard]))
        rows = index_rows_of(kept, shard)
        scans = rows.filter(pc.not_equal(rows["codec"], "json"))
        counts.num_scans += len(scans)
        counts.by_modality.update(pc.list_flatten(kept["modalities"]).to_pylist())
        counts.shapes |= _shapes(scans["shape"])
        yield shard, rows


def index_rows_of(samples: pa.Table, shard: int) -> pa.Table:
    """Rows of the index for samples of a shard's table: a row a member."""
    members = samples["members"].combine_chunks()
    sample_of_row = pc.list_parent_indices(members)
    structs = pc.list_flatten(members)
    columns = {name: samples[name].take(sample_of_row) for name in ("key", "split", "patient")}
    columns["shard"] = pa.array(np.full(len(structs), shard, np.int32))
    fields = dict(zip((f.name for f in index.ADDRESS_FIELDS), structs.flatten(), strict=True))
    columns |= fields
    return pa.table([columns[name] for name in index.SCHEMA.names], schema=index.SCHEMA)


def _used(
    place: Store, shards: Sequence[int], columns: Sequence[str]
) -> Iterator[tuple[int, pa.Table]]:
    """Shard by shard the rows of its samples, not those of rejected studies."""

    for shard, table in _tables(place, shards, (*columns, "status")):
        yield shard, table.filter(pc.equal(table["status"], str(Status.USED))).select(list(columns))


def _tables(
    place: Store, shards: Sequence[int], columns: Sequence[str]
) -> Iterator[tuple[int, pa.Table]]:
    """Shard by shard some columns of all its rows."""

    def read(shard: int) -> pa.Table:
        return sidecar.read(place, shard, list(columns))

    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(shards), AHEAD):
            some = shards[start : start + AHEAD]
            yield from zip(some, pool.map(read, some), strict=True)


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """A column as numbers of its different values, and these values."""
    coded = column.combine_chunks().cast(pa.string()).dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    return coded.indices.to_numpy(zero_copy_only=False), coded.dictionary


def _check_splits(patients: np.ndarray, splits: np.ndarray, names: pa.Array) -> None:
    split_of_patient = np.zeros(len(names), splits.dtype)
    split_of_patient[patients] = splits
    torn = sorted(names.take(np.unique(patients[split_of_patient[patients] != splits])).to_pylist())
    if torn:
        raise ValueError(f"{len(torn)} patients are in more than one split, {torn[0]} among them")


def _shapes(column: pa.ChunkedArray) -> set[tuple[int, ...]]:
    if not len(column):
        return set()
    flat = pc.list_flatten(column).to_numpy()
    return {tuple(shape) for shape in np.unique(flat.reshape(len(column), -1), axis=0).tolist()}
