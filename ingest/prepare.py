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
    partition,
    plan,
    report_join,
    report_sr,
    runfolder,
    scrub,
    table,
    taskstore,
    turn,
)
from ingest.digest_pass import with_digests
from ingest.place import place_of
from ingest.report_join import (
    Dealt,
    JoinCounts,
    Joined,
    RowStatus,
    labels_together,
    texts_together,
)
from ingest.report_sr import SR_CLASSES
from ingest.runfolder import HANDOVER, part_file
from ingest.studies import Studies, group_studies
from ingest.supervise import Limits, limits_of
from study import private, pseudonyms
from study.ingest_sections import Ingest
from study.records import Instance, Reason

IMAGES, REPORTS, LABELS = "instances", "reports", "labels"
"""Folders of the hand-over."""
ORDER_FILE = "order.json"
PLANNING = {
    "select",
    "rules",
    "columns",
    "report_source",
    "several_reports",
    "without_report",
    "valid_fraction",
    "test_fraction",
}
"""Settings of `ingest` on which the tables of a part depend."""
IDENTITY, FACTS = b"identity", b"facts"
TOGETHER = {REPORTS: texts_together, LABELS: labels_together}
"""How several rows of one study become one."""
SCANLESS = frozenset({Reason.NO_SCANS, Reason.PATIENT_MISMATCH})
"""Why a study has no scans; it then needs no report."""


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
    handover = run / HANDOVER
    images = partition.read(handover / IMAGES, part, table.SCHEMA)
    order = _order(run)
    studies = frozenset(images["study_uid"].unique().to_pylist()) - {""}
    texts = {name: _joined(handover / name, part, studies, order) for name in TOGETHER}
    identity = _identity(order.text, images, texts)
    found = None
    if order.settings.report_source != "facts":  # else two tables more would have to be there
        found = _as_before(run, part, identity, texts, order)
    return found or _make(run, part, images, texts, order, identity, of_turn)


def _joined(folder: Path, part: int, studies: frozenset[str], order: Order) -> Joined:
    """The rows of a part of the reports, or of the labels, joined."""
    rows = report_join.from_table(partition.read(folder, part, report_join.DEALT))
    return _join(rows, studies, order, folder.name)


def _join(rows: Sequence[Dealt], studies: frozenset[str], order: Order, name: str) -> Joined:
    return report_join.join(rows, studies, order.settings.several_reports, TOGETHER[name])


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
    with_scans = {
        r["study_uid"]: r["sentences"] != "{}" for r in rows if r["reason"] not in SCANLESS
    }
    if order.settings.report_source == "sr":
        file = part_file(run, REPORTS, part)
        if not file.exists():
            return None
        kept = report_join.outcomes_of(pq.read_table(file))
        texts = {**texts, REPORTS: _without_missing(kept)}
    counts = _write_outcomes(run, part, texts, with_scans)
    images = json.loads(known[FACTS])["images"]
    return _facts(part, studies, images, counts, is_new=False)


def _without_missing(outcomes: Sequence[report_join.Outcome]) -> Joined:
    """Documents as they were joined before, but for the studies without one."""
    rows = [o for o in outcomes if o.status is not RowStatus.MISSING]
    return Joined({o.study_uid: "" for o in rows if o.status is RowStatus.JOINED}, rows)


def _write_outcomes(
    run: Path, part: int, texts: Mapping[str, Joined], with_scans: Mapping[str, bool]
) -> dict[str, JoinCounts]:
    """Write what became of the rows of reports and labels. `with_scans`: the studies that have
    scans, and whether they have sentences."""
    found = {}
    for name in (REPORTS, LABELS):
        says = with_scans if name == REPORTS else dict.fromkeys(with_scans, True)
        outcomes = report_join.with_missing(texts[name], says)
        runfolder.write_part(run, name, part, report_join.outcomes_table(outcomes))
        found[name] = report_join.counts(outcomes, len(with_scans))
    return found


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
        for name, here in _made_of(instances, found, order).items():
            texts[name].add(here)
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
    counts = _write_outcomes(run, part, texts, with_scans)
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


def _made_of(instances: Sequence[Instance], found: Studies, order: Order) -> dict[str, Joined]:
    """Reports (and labels) that a study's own files hold, where the settings ask for them."""
    studies = frozenset(found.groupings)
    if order.settings.report_source == "sr":
        return {REPORTS: _join(_documents(instances, order.limits), studies, order, REPORTS)}
    if order.settings.report_source == "facts":
        made = facts.rows_of(found.groupings)
        values = made[0], {uid: json.dumps(labels) for uid, labels in made[1].items()}
        return {
            name: _join([Dealt(u, "", 0, u, v) for u, v in of.items()], studies, order, name)
            for name, of in zip((REPORTS, LABELS), values, strict=True)
        }
    return {}


def _documents(instances: Sequence[Instance], limits: Limits) -> list[Dealt]:
    """The SR documents of a study, as rows, the older ones first."""
    files = {i.path: i for i in instances if i.study_uid and i.sop_class_uid in SR_CLASSES}
    places = [place_of(instance) for instance in files.values()]
    found = report_sr.read_documents(places, limits) if places else []
    read = sorted(zip(found, files.values(), strict=True), key=lambda d: (d[0].when, d[1].path))
    replaced = {uid for document in found for uid in document.replaces}
    rows = []
    for document, instance in read:
        row = Dealt(instance.study_uid, instance.path, 0, instance.study_uid, document.text)
        if document.fault:
            row = row._replace(status=RowStatus.BROKEN, reason=document.fault)
        elif document.sop_uid in replaced:
            why = "a later document replaces it"
            row = row._replace(status=RowStatus.SUPERSEDED, reason=why)
        rows.append(row)
    return rows


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
