"""What is done: the commit records of shards.

In: a dataset's folder. Out: the shards in it that are whole. A shard is `00000.tar` (absent when no
study succeeded), `00000.parquet` and `00000_stats.json`. The last is the commit record and is
written last: without it, or where it disagrees with the sizes of the others, there is no shard.
There is no second book that could disagree with these records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from shards import allowed, seal, store
from shards.files import is_temporary
from shards.layout import SCHEMA_VERSION, Record, shard_stem
from shards.store import Location, Store, store_at
from study.records import Status

CONTENT_KEY = "dicom2clip.content"
"""Name under which the metadata of a shard's Parquet file carries `ShardStats.content`."""
REPAIRED = "repaired"
"""`ShardStats.content` of a shard that lost something: it can be read, and the next ingestion makes
it anew where its sources are still there."""
READERS = 8
"""Commit records read at a time: on a remote store each is a request."""


class ShardStats(Record):
    """The commit record of a shard."""

    schema_version: int = SCHEMA_VERSION
    shard: int
    content: str
    """Identifies what the shard was made from; given by the caller, who compares it with his
    plan."""
    count: int
    """Studies planned into the shard: rows of its Parquet file."""
    successes: int
    """Samples in the tar."""
    rejected: dict[str, int]
    """Reason code -> studies that were left out."""
    splits: dict[str, int]
    """Split -> samples in the tar."""
    num_scans: int
    histograms: dict[str, list[int]]
    """"MODALITY window" -> how many voxels have the values 0 to 255, over all uint8 scans."""
    tar_bytes: int
    """0: no study succeeded and there is no tar."""
    tar_sha256: str
    parquet_bytes: int
    parquet_sha256: str
    seconds: float
    """From opening to commit, wall clock. Only this and the checksum may differ between equal
    runs."""
    sha256: str = ""
    """Of all the rest of the record (see `seal`)."""


def tar_name(shard: int) -> str:
    return f"{shard_stem(shard)}.tar"


def parquet_name(shard: int) -> str:
    return f"{shard_stem(shard)}.parquet"


def stats_name(shard: int) -> str:
    return f"{shard_stem(shard)}_stats.json"


def write_record(dataset: Store, stats: ShardStats) -> ShardStats:
    """Commit a shard, whose tar and Parquet file are already there. Returns the record, sealed."""
    facts = seal.sealed(stats.model_dump(mode="json"))
    allowed.refuse_misfits(allowed.misfits(facts, allowed.COMMIT))
    store.write(dataset, stats_name(stats.shard), seal.text(facts))
    return ShardStats.model_validate(facts)


def read_record(dataset: Store, name: str) -> tuple[ShardStats | None, str]:
    """The commit record in a file, None where it cannot be read; and what is wrong with its
    bytes."""
    try:
        data = dataset.read(name)
        return ShardStats.model_validate_json(data), seal.damage(data)
    except FileNotFoundError:
        return None, "it is missing"
    except ValidationError as error:
        return None, f"it is no commit record: {error.errors()[0]['msg']}"


def committed(dataset: Location) -> dict[int, ShardStats]:
    """Shards with a commit record that agrees with the sizes of their tar and Parquet file, by
    number."""
    place = store_at(dataset)
    sizes = place.sizes()
    records = [name for name in sizes if _shard_of_part(name, "_stats.json") is not None]
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda name: _whole(place, name, sizes), records))
    return {stats.shard: stats for stats in found if stats is not None}


def is_committed(dataset: Location, shard: int, content: str) -> bool:
    """Whether a shard is whole and made from this content."""
    place = store_at(dataset)
    names = [part(shard) for part in PARTS]
    sizes = {name: size for name in names if (size := place.size(name)) is not None}
    found = _whole(place, stats_name(shard), sizes) if stats_name(shard) in sizes else None
    return found is not None and found.content == content


def discard_uncommitted(dataset: Location) -> list[str]:
    """Remove what a crash left: temporary files and parts of shards without a commit. Returns their
    names.

    Nobody may be writing into the dataset meanwhile: a writer's temporary file looks like a
    left-over one.
    """
    place = store_at(dataset)
    keep = {part(shard) for shard in committed(place) for part in PARTS}
    gone = [
        name
        for name in place.sizes()
        if is_temporary(Path(name)) or (is_part(name) and name not in keep)
    ]
    for name in gone:
        place.remove(name)
    return gone


PARTS = (tar_name, parquet_name, stats_name)
"""Names of the files of a shard, in the order in which they are written."""


def is_part(name: str) -> bool:
    """Whether a file of that name belongs to some shard."""
    return shard_of(name) is not None


def shard_of(name: str) -> int | None:
    """Number of the shard to which a file belongs; None where it belongs to none."""
    endings = (".tar", ".parquet", "_stats.json")
    found = (_shard_of_part(name, ending) for ending in endings)
    return next((shard for shard in found if shard is not None), None)


def counts_of(table: pa.Table) -> dict[str, Any]:
    """The fields of a commit record that follow from the table of its shard."""
    rows = table.select(["status", "reason", "split", "num_scans"]).to_pylist()
    used = [row for row in rows if row["status"] == Status.USED]
    return {
        "count": len(rows),
        "successes": len(used),
        "rejected": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        "splits": dict(sorted(Counter(row["split"] for row in used).items())),
        "num_scans": sum(row["num_scans"] for row in used),
    }


def _shard_of_part(name: str, ending: str) -> int | None:
    stem = name.removesuffix(ending)
    return int(stem) if stem != name and stem.isdigit() and len(stem) >= 5 else None


def _whole(place: Store, record: str, sizes: Mapping[str, int]) -> ShardStats | None:
    stats, damage = read_record(place, record)
    if stats is None or (damage and stats.sha256):
        return None
    expected = {
        tar_name(stats.shard): stats.tar_bytes,
        parquet_name(stats.shard): stats.parquet_bytes,
    }
    if record != stats_name(stats.shard):
        return None
    return stats if all(sizes.get(name, 0) == size for name, size in expected.items()) else None
