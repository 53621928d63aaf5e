"""Rows of a ledger by UID or path, and the planned volumes they are in, read part by part.

In: a run folder, and a UID, a path or the end of one. Out: `Found`: what the target is, and its
rows. Of every part only three columns are read, and the rows of those that match; of the plans only
those that are asked for. A study is looked for in its own part first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest import partition
from ingest.ledger import LedgerRow, from_table
from ingest.members import escaped
from ingest.place import MEMBER
from ingest.runfolder import part_file, plan_from_json
from study import pseudonyms
from study.records import ScanPlan

COLUMNS = ["path", "study_uid", "series_uid"]
Matches = Callable[[pa.Table], pa.Array]


@dataclass
class Found:
    """What a target is, and its rows; none: it is nothing that the ledger knows."""

    what: str = ""
    """file, folder, series or study."""
    rows: list[LedgerRow] = field(default_factory=list)
    part_of: dict[str, int] = field(default_factory=dict)
    """Of their studies."""


def find(run: Path, target: str) -> Found:
    """The rows that a target stands for: a UID, a path, or the end of one; a folder or an archive
    stands for everything in it. What comes first in `_ways` wins."""
    ledger = run / "ledger.parquet"
    files = sorted(ledger.glob("*.parquet")) if ledger.is_dir() else [ledger]
    ways = _ways(escaped(target)) if target else []
    own = _own_part(run, target, len(files))
    if own is not None:
        found = _among([files[own]], ways[1:2])
        if found.rows:
            return found
    return _among(files, ways)


def _among(files: Iterable[Path], ways: list[tuple[str, Matches]]) -> Found:
    """Rows of all parts that match in the first way in which any do."""
    found, best = Found(), len(ways)
    for number, file in enumerate(files):
        part = int(file.stem) if file.stem.isdigit() else number
        columns = pq.read_table(file, columns=COLUMNS)
        for rank, (what, matches) in enumerate(ways[: best + 1]):
            mask = matches(columns)
            if not pc.any(mask).as_py():
                continue
            if rank < best:
                found, best = Found(what), rank
            rows = from_table(pq.read_table(file).filter(mask))
            found.rows += rows
            found.part_of |= dict.fromkeys((row.study_uid for row in rows), part)
            break
    return found


def _own_part(run: Path, target: str, parts: int) -> int | None:
    """Where a study of that UID would be; None where the run has no key to tell it by."""
    file = run / pseudonyms.KEY_FILE
    if not file.exists() or not target[:1].isdigit():
        return None
    key = pseudonyms.pseudonym(pseudonyms.project_key(file), "study", target)
    return partition.part_of(key, parts)


def _ways(target: str) -> list[tuple[str, Matches]]:
    """How a target may be meant, the likeliest first."""
    path = str(Path(target).expanduser().absolute()) if MEMBER not in target else target
    end = f"/{target.strip('/')}"
    return [
        ("series", lambda rows: pc.equal(rows["series_uid"], target)),
        ("study", lambda rows: pc.equal(rows["study_uid"], target)),
        ("file", lambda rows: pc.equal(rows["path"], target)),
        ("file", lambda rows: pc.equal(rows["path"], path)),
        ("folder", lambda rows: _below(rows["path"], target.rstrip("/"))),
        ("folder", lambda rows: _below(rows["path"], path)),
        ("file", lambda rows: pc.ends_with(rows["path"], end)),
        ("folder", lambda rows: _within(rows["path"], end)),
    ]


def _below(paths: pa.ChunkedArray, folder: str) -> pa.Array:
    return pc.or_(pc.starts_with(paths, f"{folder}/"), pc.starts_with(paths, f"{folder}{MEMBER}"))


def _within(paths: pa.ChunkedArray, end: str) -> pa.Array:
    return pc.or_(pc.match_substring(paths, f"{end}/"), pc.match_substring(paths, f"{end}{MEMBER}"))


def plans_of(
    run: Path, scans: Iterable[tuple[str, int]], part_of: Mapping[str, int]
) -> dict[tuple[str, int], ScanPlan]:
    """Planned volumes by StudyInstanceUID and scan; those that the run does not know are left
    out."""
    if not (run / "scans.parquet").exists():
        return {}
    wanted: dict[int, set[str]] = defaultdict(set)
    for study, _ in scans:
        wanted[part_of[study]].add(study)
    found = {}
    for part, studies in wanted.items():
        ours = [("study_uid", "in", sorted(studies))]
        keys = pq.read_table(part_file(run, "keys", part), columns=["key"], filters=ours)
        mine = pc.field("key").isin(keys["key"].combine_chunks())
        rows = pq.read_table(part_file(run, "scans", part), columns=["scan", "plan"], filters=mine)
        for row in rows.to_pylist():
            plan = plan_from_json(row["plan"])
            found[(plan.study_uid, row["scan"])] = plan
    return found
