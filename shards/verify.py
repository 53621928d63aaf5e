"""Proof that a dataset's bytes are what its books say.

In: a dataset, finished or damaged. Out: a `Report` of problems, each naming the file and, within a
tar, study, member and part. One byte changed anywhere is found: dataset.json and the commit records
are sealed (`seal`), every other file has its SHA-256 in one of them, and every byte of a tar is
hashed, compared with its CRC-32C or with what must be there, decoded, and checked against its
schema, in one reading. Then the books against each other: tars, tables, index, counts. Shards are
looked at in parallel by threads: hashing and reading release the interpreter's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from shards import books, catalog, census, commit, index, sidecar
from shards.books import Catalog, IndexRows, ShardBooks
from shards.commit import ShardStats
from shards.examine import Examination, Sample
from shards.files import is_temporary
from shards.problem import Problem
from shards.store import Location, Store, store_at
from study.errors import UserError

Progress = Callable[[int, int], None]
"""Called as progress(bytes done, bytes in all)."""


@dataclass(frozen=True)
class Report:
    """What verification found."""

    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    """Files that are no part of the dataset."""
    shards: int
    samples: int
    """In all tars, superseded ones too."""
    bytes: int


def verify(
    dataset: Location, jobs: int = 1, progress: Progress = lambda done, total: None
) -> Report:
    """Check all bytes of a dataset, `jobs` shards at a time.

    UserError where there is nothing that was a dataset.
    """
    place = store_at(dataset)
    sizes = place.sizes()
    numbers = shard_numbers(place, sizes)
    own = (catalog.INFO_FILE, *books.ALWAYS)
    parts = (size for name, size in sizes.items() if commit.is_part(name) or name in own)
    count = _Counter(sum(parts), progress)
    cat = books.read_catalog(place, sizes, count)
    problems = list(cat.problems)
    samples = 0
    found: census.Survey | None = None
    done = _whole_shards(place, sizes, numbers)
    if done is not None:  # else the damage is named where it is, and nothing can be counted
        try:
            found = census.survey(place, done)
        except ValueError as error:  # a patient in two splits
            problems.append(Problem(catalog.INFO_FILE, str(error)))
        if found is not None and cat.facts is not None and cat.is_proven:
            problems += _counts(place, cat, cat.facts, done, found)
    rows = None if cat.index_is_wrong else _index(place, cat, problems)
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        work = {
            pool.submit(_shard, place, n, sizes, rows, cat.index_is_right, found, count): n
            for n in numbers
        }
        by_shard = {work[job]: job.result() for job in as_completed(work)}
    for number in numbers:
        some, in_tar = by_shard[number]
        problems += some
        samples += in_tar
    notes = tuple(_notes(cat, sizes))
    return Report(tuple(dict.fromkeys(problems)), notes, len(numbers), samples, count.done)


def shard_numbers(place: Store, sizes: Mapping[str, int]) -> list[int]:
    """Numbers of the shards of which there is any file. UserError where there is no dataset."""
    numbers = sorted({n for name in sizes if (n := commit.shard_of(name)) is not None})
    if not numbers and catalog.INFO_FILE not in sizes:
        catalog.read_info(place)  # says why there is none
        raise UserError(f"{place.url} is not a dataset")
    return numbers


def _shard(
    place: Store,
    number: int,
    sizes: dict[str, int],
    rows: IndexRows | None,
    index_is_right: bool,
    found: census.Survey | None,
    count: Callable[[int], None],
) -> tuple[list[Problem], int]:
    """Problems of a shard, and how many samples are in its tar."""
    own = books.read_shard(place, number, sizes)
    problems = list(own.problems)
    count(sizes.get(commit.parquet_name(number), 0) + sizes.get(commit.stats_name(number), 0))
    try:
        indexed = rows.of(number) if rows is not None else None
    except books.UNREADABLE as error:
        problems.append(Problem(index.INDEX_FILE, f"it cannot be read: {error}"))
        indexed = None
    tar = commit.tar_name(number)
    samples: list[Sample] = []
    if tar in sizes:
        told = books.books_of(own, indexed, index_is_right)
        looked = Examination(place, tar, sizes[tar], told, count)
        try:
            samples = list(looked.samples())
        except OSError as error:
            problems.append(Problem(tar, f"it cannot be read: {error}"))
        located = [*looked.problems, *(p for sample in samples for p in sample.problems)]
        problems += located
        is_other = own.record is not None and looked.sha256 != own.record.tar_sha256
        if own.record_is_proven and is_other and not located:
            what = "SHA-256 is not that of the commit record; no book tells which member it is"
            problems.append(Problem(tar, what))
    if not problems and own.record is not None and own.table is not None:
        problems += _agreement(own, own.record, own.table, samples)
        if found is not None and indexed is not None and number in found.is_latest:
            kept = books.used_rows(own.table).filter(pa.array(found.is_latest[number]))
            expected = census.index_rows_of(kept, number)
            if not indexed.equals(expected):
                problems += _index_differences(number, indexed, expected)
    return problems, len(samples)


def _agreement(
    own: ShardBooks, record: ShardStats, table: pa.Table, samples: list[Sample]
) -> Iterator[Problem]:
    """The tar against the table, and both against the commit record."""
    parquet = commit.parquet_name(own.shard)
    used = books.used_rows(table)
    keys = [sample.key for sample in samples]
    if used["key"].to_pylist() != keys:
        yield Problem(parquet, "it tells of other studies than the tar holds")
        return
    made = [sidecar.used_row(s.meta, s.members) for s in samples if s.meta is not None]
    expected = pa.Table.from_pylist(made, schema=sidecar.SCHEMA)
    if not used.equals(expected):
        for row, key in enumerate(keys):
            if not used.slice(row, 1).equals(expected.slice(row, 1)):
                yield Problem(parquet, "its row is not what the tar holds", key)
    counted = commit.counts_of(table)
    for name, value in counted.items():
        if getattr(record, name) != value:
            told = f"{name} is {getattr(record, name)}, the table says {value}"
            yield Problem(commit.stats_name(own.shard), told)


def _index_differences(number: int, found: pa.Table, expected: pa.Table) -> Iterator[Problem]:
    tar, rows = commit.tar_name(number), expected.to_pylist()
    told = {row["member"]: row for row in found.to_pylist()}
    for row in rows:
        other = told.pop(row["member"], None)
        if other is None:
            what = f"it lacks a member of {tar}"
            yield Problem(index.INDEX_FILE, what, row["key"], row["member"])
        elif other != row:
            what = f"it tells otherwise than {tar}"
            yield Problem(index.INDEX_FILE, what, row["key"], row["member"])
    for row in told.values():
        what = f"{tar} has no such member, or a later shard has the study"
        yield Problem(index.INDEX_FILE, what, row["key"], row["member"])


def _whole_shards(
    place: Store, sizes: dict[str, int], numbers: list[int]
) -> dict[int, ShardStats] | None:
    """Commit records of all shards; None where records and tables are not all as written."""
    with ThreadPoolExecutor(commit.READERS) as pool:
        found = list(pool.map(lambda n: _proven_record(place, n, sizes), numbers))
    done = {stats.shard: stats for stats in found if stats is not None}
    return done if len(done) == len(numbers) else None


def _proven_record(place: Store, number: int, sizes: dict[str, int]) -> ShardStats | None:
    own = books.read_shard(place, number, sizes)
    return None if own.problems else own.record


def _counts(
    place: Store,
    cat: Catalog,
    facts: dict[str, Any],
    done: dict[int, ShardStats],
    found: census.Survey,
) -> Iterator[Problem]:
    """dataset.json and sizes.json against the shards."""
    counts = census.Counts()
    for _ in census.index_rows(place, found, counts):
        pass
    told = catalog.counted(done, found, counts)
    made = catalog.DatasetInfo.model_validate({**facts, **told}).model_dump(mode="json")
    for name in told:
        if made[name] != facts[name]:
            what = f"{name} is {facts[name]}, the shards say {made[name]}"
            yield Problem(catalog.INFO_FILE, what)
    is_named = any(problem.where == catalog.SIZES_FILE for problem in cat.problems)
    if not is_named and place.read(catalog.SIZES_FILE) != catalog.sizes_text(done):
        yield Problem(catalog.SIZES_FILE, "it tells otherwise than the commit records")


def _index(place: Store, cat: Catalog, problems: list[Problem]) -> IndexRows | None:
    try:
        return IndexRows(place)
    except books.UNREADABLE as error:
        if not any(problem.where == index.INDEX_FILE for problem in cat.problems):
            problems.append(Problem(index.INDEX_FILE, f"it cannot be read: {error}"))
        return None


def _notes(cat: Catalog, sizes: Mapping[str, int]) -> Iterator[Problem]:
    """Files that are no part of the dataset."""
    own = {catalog.INFO_FILE, *books.ALWAYS, *(cat.facts["files"] if cat.facts is not None else ())}
    for name in sizes:
        if is_temporary(Path(name)):
            yield Problem(name, "left over from a writer that was killed, or being written")
        elif name not in own and not commit.is_part(name):
            yield Problem(name, "no file of the dataset")


class _Counter:
    """Adds up bytes from many threads."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.done, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self.done += count
            self._progress(self.done, self._total)
