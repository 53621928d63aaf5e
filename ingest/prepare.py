"""One part of the plan: the images of a range of studies -> their tasks and ledger rows.

In: what `partition` put into the part: images, reports, labels. Out: the part's tables in the run
folder, and a few facts. A worker runs it: memory is bounded by a part, and within it Python objects
by a study. A part whose input, settings and program are those of its tables is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest import facts, ledger, partition, plan, runfolder, table, taskstore
from ingest.digest_pass import with_digests
from ingest.reports import JoinCounts, join_counts
from ingest.runfolder import HANDOVER, part_file
from ingest.studies import Studies, group_studies
from ingest.supervise import Limits, limits_of
from study import private, pseudonyms
from study.ingest_sections import Ingest
from study.records import Instance

TEXTS = pa.schema([("study_uid", pa.string()), ("value", pa.string())])
"""Of reports: their text; of labels: JSON."""
IMAGES, REPORTS, LABELS = "instances", "reports", "labels"
"""Folders of the hand-over."""
ORDER_FILE = "order.json"
PLANNING = {
    "select",
    "rules",
    "columns",
    "report_source",
    "without_report",
    "valid_fraction",
    "test_fraction",
}
"""Settings of `ingest` on which the tables of a part depend."""
IDENTITY, FACTS = b"identity", b"facts"


@dataclass(frozen=True)
class PartFacts:
    """What the client must know of a part: small, whatever is in it."""

    part: int
    keys: tuple[str, ...]
    """Of its studies, in order."""
    digests: tuple[str, ...]
    """Of their samples."""
    images: int
    reports: JoinCounts
    labels: JoinCounts
    is_new: bool
    """False where the tables were there already."""


class Order(NamedTuple):
    """What all parts are made by."""

    settings: Ingest
    key: bytes
    text: str
    """Tells orders apart."""
    limits: Limits
    """Of the process that decodes what may be copies of each other."""


def write_order(run: Path, settings: Ingest, key: bytes) -> None:
    """Write down, once, what all parts are made by: lists of wanted studies may be long. The key is
    not in it, but something by which it is told from others."""
    order = {
        "ingest": settings.model_dump(mode="json", include=PLANNING),
        "key": pseudonyms.key_fingerprint(key),
        "program": program(),
    }
    text = json.dumps([json.dumps(order, sort_keys=True), asdict(limits_of(settings.speed))])
    private.private_folder(run / HANDOVER)
    private.write_text(run / HANDOVER / ORDER_FILE, text)


@cache
def program() -> str:
    """Hash of the source text by which studies are grouped and texts scrubbed."""
    folder = Path(__file__).parent
    files = [*sorted(folder.glob("*.py")), folder.parent / "study" / "records.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def prepare(part: int, run: Path) -> PartFacts:
    """Make the tables of a part, unless they are there."""
    handover = run / HANDOVER
    images = partition.read(handover / IMAGES, part, table.SCHEMA)
    texts = {name: partition.read(handover / name, part, TEXTS) for name in (REPORTS, LABELS)}
    order = _order(run)
    identity = _identity(order.text, images, *texts.values())
    is_kept = order.settings.report_source == "table"  # else two tables more would have to be there
    found = _as_before(run, part, identity) if is_kept else None
    return found or _make(run, part, images, texts, order, identity)


def _order(run: Path) -> Order:
    file = run / HANDOVER / ORDER_FILE
    return _read_order(run, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_order(run: Path, _mtime_ns: int) -> Order:
    """Read once a process: see `write_order`."""
    text, limits = json.loads((run / HANDOVER / ORDER_FILE).read_text())
    file = run / pseudonyms.KEY_FILE
    if not file.exists():
        raise FileNotFoundError(f"{file}: the client makes the project key, never a worker")
    settings = Ingest(**json.loads(text)["ingest"])
    return Order(settings, pseudonyms.project_key(file), text, Limits(**limits))


def _identity(order: str, *tables: pa.Table) -> str:
    """Of what a part is made from, whatever the pieces in which it came."""
    found = hashlib.sha256(order.encode())
    for rows in tables:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        found.update(sink.getvalue())
    return found.hexdigest()


def _as_before(run: Path, part: int, identity: str) -> PartFacts | None:
    known = taskstore.facts_of(run, part)
    whole = all(part_file(run, name, part).exists() for name in ("keys", "scans", "grouped"))
    if known.get(IDENTITY) != identity.encode() or not whole:
        return None
    studies = pq.read_table(part_file(run, "studies", part), columns=["key", "digest"])
    return _facts(part, studies, json.loads(known[FACTS]), is_new=False)


def _facts(part: int, studies: pa.Table, counts: Mapping[str, Any], *, is_new: bool) -> PartFacts:
    return PartFacts(
        part,
        tuple(studies["key"].to_pylist()),
        tuple(studies["digest"].to_pylist()),
        counts["images"],
        JoinCounts(**counts["reports"]),
        JoinCounts(**counts["labels"]),
        is_new,
    )


def _make(
    run: Path,
    part: int,
    images: pa.Table,
    texts: Mapping[str, pa.Table],
    order: Order,
    identity: str,
) -> PartFacts:
    settings = order.settings
    reports = dict(_pairs(texts[REPORTS]))
    labels = {uid: json.loads(value) for uid, value in _pairs(texts[LABELS])}
    rows: list[ledger.LedgerRow] = []
    tasks: list[plan.StudyTask] = []
    made: tuple[dict[str, str], dict[str, Any]] = {}, {}
    for rows_of_study in _by_study(images):
        instances = with_digests(rows_of_study, _here, order.limits)
        found = group_studies(instances, settings.select, settings.rules)
        rows += found.rows
        if settings.report_source == "facts":
            reports, labels = facts.rows_of(found.groupings)
            made[0].update(reports)
            made[1].update(labels)
        tasks += _tasks(found, order, reports, labels)
    if settings.report_source == "facts":
        reports, labels = made
        facts.write_part(run / HANDOVER, part, reports, labels)
    known = [task.study_uid for task in tasks]
    with_scans = [task.study_uid for task in tasks if task.plans]
    counts = {
        "images": len(rows),
        "reports": join_counts(reports, known, with_scans).as_json(),
        "labels": join_counts(labels, known, with_scans).as_json(),
    }
    part_file(run, "studies", part).unlink(missing_ok=True)
    rows.sort(key=lambda row: (row.path, row.frame))
    runfolder.write_part(run, "grouped", part, ledger.to_table(rows))
    known_by = {IDENTITY: identity.encode(), FACTS: json.dumps(counts).encode()}
    taskstore.write(run, part, tasks, known_by)
    tasks.sort(key=lambda task: task.key)
    studies = pa.table({"key": [t.key for t in tasks], "digest": [t.digest for t in tasks]})
    return _facts(part, studies, counts, is_new=True)


def _here(function: Callable[[Any], Any], items: list[Any]) -> Iterator[Any]:
    return map(function, items)


def _pairs(rows: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(rows["study_uid"].to_pylist(), rows["value"].to_pylist(), strict=True)


def _by_study(images: pa.Table) -> Iterator[list[Instance]]:
    """The images of one study at a time (and those without a study together), each in the order of
    the table."""
    codes = images["study_uid"].combine_chunks().dictionary_encode()
    of_row = codes.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(of_row, kind="stable")
    bounds = np.searchsorted(of_row[order], np.arange(len(codes.dictionary) + 1))
    ordered = images.take(pa.array(order))
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        yield table.instances_of(ordered.slice(start, end - start))


def _tasks(
    found: Studies,
    order: Order,
    reports: Mapping[str, str],
    labels: Mapping[str, Mapping[str, float]],
) -> Sequence[plan.StudyTask]:
    return [
        plan.study_task(
            found.instances[uid],
            grouping,
            order.key,
            order.settings,
            reports.get(uid),
            labels.get(uid, {}),
        )
        for uid, grouping in found.groupings.items()
    ]
