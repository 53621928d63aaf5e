"""What the books of a dataset say of its shards, and whether they can be believed.

In: a dataset, however damaged. Out: dataset.json, commit records, tables and index, each with what
is wrong with it. The chain of proof: dataset.json and the commit records are sealed; a record
proves tar and table, dataset.json proves the index and all other books. A book without proof may
still be right: where it agrees with the bytes, it vouches for them; where it does not, it says
nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from shards import card, census, commit, croissant, index, seal, sidecar
from shards.catalog import INFO_FILE, INFO_INDENT, SIZES_FILE, DatasetInfo
from shards.commit import ShardStats
from shards.examine import Book
from shards.problem import Problem
from shards.store import Store
from study.records import Status

ALWAYS = (index.INDEX_FILE, SIZES_FILE, croissant.CROISSANT_FILE, card.README_FILE)
"""Books that every finished dataset has."""
_CHUNK = 1 << 20
UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)
"""What comes out of pyarrow for a damaged Parquet file."""


@dataclass(frozen=True)
class Catalog:
    """dataset.json and what it proves."""

    facts: dict[str, Any] | None
    """None where it cannot be read."""
    is_proven: bool
    problems: tuple[Problem, ...]
    index_is_right: bool
    """index.parquet has the checksum that an intact dataset.json gives."""
    index_is_wrong: bool
    """It has another one, or is missing."""


@dataclass(frozen=True)
class ShardBooks:
    """The commit record and the table of a shard."""

    shard: int
    record: ShardStats | None
    """None where it cannot be read."""
    record_is_proven: bool
    table: pa.Table | None
    """Schema of `sidecar`; None where it is damaged or cannot be read."""
    table_is_proven: bool
    content: str
    """As the record or the table gives it; empty where neither can."""
    problems: tuple[Problem, ...]


def read_catalog(
    place: Store, sizes: dict[str, int], on_bytes: Callable[[int], None] = lambda count: None
) -> Catalog:
    """Check dataset.json, and all files that it proves."""
    facts, what = _facts(place, sizes)
    on_bytes(sizes.get(INFO_FILE, 0))
    problems = [Problem(INFO_FILE, what)] if what else []
    proven: dict[str, str] = {} if what or facts is None else facts["files"]
    for name in sorted({*proven, *ALWAYS}):
        if name not in sizes:
            problems.append(Problem(name, "it is missing"))
        elif name in proven and sha256_of(place, name, on_bytes) != proven[name]:
            problems.append(Problem(name, f"SHA-256 is not that of {INFO_FILE}"))
        elif name not in proven and not what:
            problems.append(Problem(name, f"{INFO_FILE} has no SHA-256 of it"))
    is_wrong = any(problem.where == index.INDEX_FILE for problem in problems)
    is_right = index.INDEX_FILE in proven and not is_wrong
    return Catalog(facts, not what, tuple(problems), is_right, is_wrong)


def read_shard(place: Store, shard: int, sizes: dict[str, int]) -> ShardBooks:
    """The books of a shard, with their problems; of the tar only that it is there."""
    tar, parquet, stats = (part(shard) for part in commit.PARTS)
    record, what = commit.read_record(place, stats)
    if record is not None and record.shard != shard:
        what = f"it is the record of shard {record.shard}"
        record = None
    problems = [Problem(stats, what)] if what else []
    is_proven = record is not None and not what
    if record is not None and is_proven:
        for name, expected in ((tar, record.tar_bytes), (parquet, record.parquet_bytes)):
            found = sizes.get(name)
            if found is None and expected:
                problems.append(Problem(name, "it is missing"))
            elif found is not None and found != expected:
                problems.append(Problem(name, f"it has {found} bytes, not {expected}"))
    elif parquet not in sizes:
        problems.append(Problem(parquet, "it is missing"))
    table, content, what, table_is_proven = None, "", "", False
    if parquet in sizes:
        data = place.read(parquet)
        if record is not None and hashlib.sha256(data).hexdigest() == record.parquet_sha256:
            table_is_proven = True
        elif is_proven:
            what = "SHA-256 is not that of the commit record"
        try:
            content = _content(data)
            table = sidecar.parsed(io.BytesIO(data))
            table.validate(full=True)
        except UNREADABLE as error:
            table, what = None, what or f"it cannot be read: {error}"
    if what and not any(problem.where == parquet for problem in problems):
        problems.append(Problem(parquet, what))
    return ShardBooks(
        shard,
        record,
        is_proven,
        table,
        table_is_proven,
        record.content if record is not None and is_proven else content,
        tuple(problems),
    )


def used_rows(table: pa.Table) -> pa.Table:
    """Rows of a shard's table that are samples."""
    return table.filter(pc.equal(table["status"], str(Status.USED)))


class IndexRows:
    """index.parquet, shard by shard, without holding it all. May be used from many threads."""

    def __init__(self, place: Store) -> None:
        self._place = place
        with place.open(index.INDEX_FILE) as stream:
            self._metadata = pq.read_metadata(stream)
        column = index.SCHEMA.get_field_index("shard")
        self._groups: list[tuple[int, int]] = []
        for group in range(self._metadata.num_row_groups):
            told = self._metadata.row_group(group).column(column).statistics
            limits = (told.min, told.max) if told is not None and told.has_min_max else (0, 1 << 31)
            self._groups.append(limits)

    def of(self, shard: int) -> pa.Table:
        """Rows of a shard."""
        groups = [n for n, (low, high) in enumerate(self._groups) if low <= shard <= high]
        with self._place.open(index.INDEX_FILE) as stream:
            file = pq.ParquetFile(stream, metadata=self._metadata, pre_buffer=False)
            table = index.SCHEMA.empty_table()
            if groups:  # without Arrow's threads, as in sidecar.parsed
                table = file.read_row_groups(groups, use_threads=False)
        table = table.select(index.SCHEMA.names).cast(index.SCHEMA)
        return table.filter(pc.equal(table["shard"], shard))


def books_of(books: ShardBooks, indexed: pa.Table | None, index_is_proven: bool) -> Iterator[Book]:
    """What the books say of the members of a shard's tar."""
    if books.table is not None:
        rows = census.index_rows_of(used_rows(books.table), books.shard)
        yield Book(rows, books.table_is_proven)
    if indexed is not None:
        yield Book(indexed, index_is_proven)


def sha256_of(place: Store, name: str, on_bytes: Callable[[int], None]) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with place.open(name) as stream:
        while data := stream.read(_CHUNK):
            digest.update(data)
            on_bytes(len(data))
    return digest.hexdigest()


def _facts(place: Store, sizes: dict[str, int]) -> tuple[dict[str, Any] | None, str]:
    if INFO_FILE not in sizes:
        return None, "it is missing"
    data = place.read(INFO_FILE)
    try:
        facts = DatasetInfo.model_validate_json(data).model_dump(mode="json")
    except ValidationError as error:
        return None, f"it cannot be read: {error.errors()[0]['msg']}"
    return facts, seal.damage(data, INFO_INDENT)


def _content(data: bytes) -> str:
    told = pq.read_schema(io.BytesIO(data)).metadata or {}
    return cast(bytes, told.get(commit.CONTENT_KEY.encode(), b"")).decode()
