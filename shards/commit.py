"""What is done: the commit records of shards.

In: a dataset's folder. Out: the shards in it that are whole. A shard is `00000.tar` (absent when no
study succeeded), `00000.parquet` and `00000_stats.json`. The last is the commit record and is
written last: without it, or where it disagrees with the sizes of the others, there is no shard.
There is no second book that could disagree with these records.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from shards import allowed, files
from shards.layout import SCHEMA_VERSION, Record, shard_stem, to_bytes


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
    """From opening to commit, wall clock. The only field that may differ between equal runs."""


def tar_file(dataset: Path, shard: int) -> Path:
    return dataset / f"{shard_stem(shard)}.tar"


def parquet_file(dataset: Path, shard: int) -> Path:
    return dataset / f"{shard_stem(shard)}.parquet"


def stats_file(dataset: Path, shard: int) -> Path:
    return dataset / f"{shard_stem(shard)}_stats.json"


def write_record(dataset: Path, stats: ShardStats) -> None:
    """Commit a shard, whose tar and Parquet file are already on the disk."""
    facts = stats.model_dump(mode="json")
    allowed.refuse_misfits(allowed.misfits(facts, allowed.COMMIT))
    files.write_atomic(stats_file(dataset, stats.shard), to_bytes(facts) + b"\n")


def committed(dataset: Path) -> dict[int, ShardStats]:
    """Shards with a commit record that agrees with the sizes of their tar and Parquet file, by
    number."""
    done = {}
    for path in sorted(dataset.glob("*_stats.json")):
        stats = _whole(dataset, path)
        if stats is not None:
            done[stats.shard] = stats
    return done


def discard_uncommitted(dataset: Path) -> list[str]:
    """Remove what a crash left: temporary files and parts of shards without a commit. Returns their
    names.

    Nobody may be writing into the dataset meanwhile: a writer's temporary file looks like a
    left-over one.
    """
    if not dataset.is_dir():
        return []
    done = committed(dataset)
    keep = {f(dataset, shard) for shard in done for f in (tar_file, parquet_file, stats_file)}
    gone = []
    for path in sorted(dataset.iterdir()):
        part = (
            path.name.removesuffix("_stats.json")
            if path.name.endswith("_stats.json")
            else path.stem
        )
        is_part = part.isdigit() and len(part) >= 5 and path.suffix in (".tar", ".parquet", ".json")
        if files.is_temporary(path) or (is_part and path not in keep):
            path.unlink()
            gone.append(path.name)
    if gone:
        files.sync_folder(dataset)
    return gone


def _whole(dataset: Path, record: Path) -> ShardStats | None:
    try:
        stats = ShardStats.model_validate_json(record.read_bytes())
    except (ValidationError, OSError):
        return None
    sizes = {
        tar_file(dataset, stats.shard): stats.tar_bytes,
        parquet_file(dataset, stats.shard): stats.parquet_bytes,
    }
    if record != stats_file(dataset, stats.shard):
        return None
    return stats if all(_size(path) == size for path, size in sizes.items()) else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
