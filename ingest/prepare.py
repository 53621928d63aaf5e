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

from ingest import (
    facts,
    ledger,
    offline,
    part_texts,
    partition,
    plan,
    presidio_spans,
    runfolder,
    scrub,
    table,
    taskstore,
    turn,
)
from ingest.digest_pass import with_digests
from ingest.part_texts import LABELS, REPORTS, SCANLESS
from ingest.report_join import JoinCounts, Joined
from ingest.runfolder import HANDOVER, part_file
from ingest.studies import Studies, group_studies
from ingest.supervise import Limits, limits_of
from study import private, pseudonyms
from study.errors import UserError
from study.ingest_sections import Ingest
from study.records import Instance

IMAGES = "instances"
"""Folder of the hand-over; those of reports and labels are in `part_texts`."""
ORDER_FILE = "order.json"
PLANNING = {
    "select",
    "rules",
    "columns",
    "report_source",
    "several_reports",
    "without_report",
    "presidio",
    "presidio_model",
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
    scrubbed: Mapping[str, int]
    """Spans cut out of its reports, by kind."""
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
        "presidio": presidio_spans.in_use(settings),
        "summarizers": [summarizer.variant for summarizer in settings.summarizers],
        "labelers": [labeler.label_set for labeler in settings.labelers],
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


def prepare(part: int, run: Path, of_turn: str = turn.NOBODY) -> PartFacts:
    """Make the tables of a part, unless they are there. UserError where the job `of_turn` is
    over."""
    turn.refuse_if_over(run, of_turn)
    images = partition.read(run / HANDOVER / IMAGES, part, table.SCHEMA)
    order = _order(run)
    studies = frozenset(images["study_uid"].unique().to_pylist()) - {""}
    texts = part_texts.of_tables(run, part, studies, order.settings.several_reports)
    identity = _identity(order.text, images, texts)
    found = None
    if order.settings.report_source != "facts":  # else two tables more would have to be there
        found = _as_before(run, part, identity, texts, order)
    return found or _make(run, part, images, texts, order, identity, of_turn)


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
    order = json.loads(text)
    settings = Ingest(**order["ingest"])
    here = presidio_spans.in_use(settings)
    if here != order["presidio"]:
        raise UserError(f"ingest.presidio: {order['presidio']} at the client, {here} at a worker")
    return Order(settings, pseudonyms.project_key(file), text, Limits(**limits))


def _identity(order: str, images: pa.Table, texts: Mapping[str, Joined]) -> str:
    """Of what a part is made from, whatever the pieces in which it came, and wherever in a table
    the rows stand."""
    found = hashlib.sha256(order.encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, images.schema) as writer:
        writer.write_table(images)
    found.update(sink.getvalue())
    for name in (REPORTS, LABELS):
        found.update(json.dumps(sorted(texts[name].values.items())).encode())
    return found.hexdigest()


def _as_before(
    run: Path, part: int, identity: str, texts: Mapping[str, Joined], order: Order
) -> PartFacts | None:
    """The facts of a part that was made of the same; where its rows stand in the tables is written
    anew."""
    known = taskstore.facts_of(run, part)
    whole = all(part_file(run, name, part).exists() for name in ("keys", "scans", "grouped"))
    if known.get(IDENTITY) != identity.encode() or not whole:
        return None
    columns = ["key", "digest", "scrubbed", "study_uid", "reason", "sentences"]
    studies = pq.read_table(part_file(run, "studies", part), columns=columns)
    rows = studies.select(columns[3:]).to_pylist()
    with_scans = {  # by rule: those of language models are put in after grouping
        row["study_uid"]: offline.VARIANT in json.loads(row["sentences"])
        for row in rows
        if row["reason"] not in SCANLESS
    }
    if order.settings.report_source == "sr":
        documents = part_texts.as_before(run, part)
        if documents is None:
            return None
        texts = {**texts, REPORTS: documents}
    counts = part_texts.write_outcomes(run, part, texts, with_scans)
    images = json.loads(known[FACTS])["images"]
    return _facts(part, studies, images, counts, is_new=False)


def _facts(
    part: int,
    studies: pa.Table,
    images: int,
    counts: Mapping[str, JoinCounts],
    *,
    is_new: bool,
) -> PartFacts:
    return PartFacts(
        part,
        tuple(studies["key"].to_pylist()),
        tuple(studies["digest"].to_pylist()),
        images,
        counts[REPORTS],
        counts[LABELS],
        scrub.total(map(json.loads, studies["scrubbed"].to_pylist())),
        is_new,
    )


def _make(
    run: Path,
    part: int,
    images: pa.Table,
    texts: Mapping[str, Joined],
    order: Order,
    identity: str,
    of_turn: str,
) -> PartFacts:
    settings = order.settings
    rows: list[ledger.LedgerRow] = []
    tasks: list[plan.StudyTask] = []
    for rows_of_study in _by_study(images):
        instances = with_digests(rows_of_study, _here, order.limits)
        found = group_studies(instances, settings.select, settings.rules)
        rows += found.rows
        made = part_texts.of_files(instances, found, settings, order.limits)
        for name, joined in made.items():
            texts[name].add(joined)
        tasks += _tasks(found, order, texts)
    turn.refuse_if_over(run, of_turn)
    if settings.report_source == "facts":
        labels = {uid: json.loads(value) for uid, value in texts[LABELS].values.items()}
        facts.write_part(run / HANDOVER, part, texts[REPORTS].values, labels)
    part_file(run, "studies", part).unlink(missing_ok=True)
    with_scans = {
        task.study_uid: bool(task.report.sentences)
        for task in tasks
        if str(task.reason or "") not in SCANLESS
    }
    counts = part_texts.write_outcomes(run, part, texts, with_scans)
    rows.sort(key=lambda row: (row.path, row.frame))
    runfolder.write_part(run, "grouped", part, ledger.to_table(rows))
    known_by = {IDENTITY: identity.encode(), FACTS: json.dumps({"images": len(rows)}).encode()}
    taskstore.write(run, part, tasks, known_by)
    tasks.sort(key=lambda task: task.key)
    studies = pa.table(
        {
            "key": [t.key for t in tasks],
            "digest": [t.digest for t in tasks],
            "scrubbed": [json.dumps(dict(t.scrubbed)) for t in tasks],
        }
    )
    return _facts(part, studies, len(rows), counts, is_new=True)


def _here(function: Callable[[Any], Any], items: list[Any]) -> Iterator[Any]:
    return map(function, items)


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


def _tasks(found: Studies, order: Order, texts: Mapping[str, Joined]) -> Sequence[plan.StudyTask]:
    reports, labels = texts[REPORTS].values, texts[LABELS].values
    return [
        plan.study_task(
            found.instances[uid],
            grouping,
            order.key,
            order.settings,
            reports.get(uid),
            json.loads(labels.get(uid, "{}")),
        )
        for uid, grouping in found.groupings.items()
    ]
