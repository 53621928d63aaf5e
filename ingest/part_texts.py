"""Reports and labels of one part of the plan, joined; and what became of their rows, written down.

In: the rows that were dealt to the part, the images of its studies. Out: `Joined` values by study,
from the user's tables, from DICOM SR among the images, or from the headers themselves; and the
part's files of `reports.parquet` and `labels.parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from ingest import facts, partition, report_join, report_sr, runfolder
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
from ingest.studies import Studies
from ingest.supervise import Limits
from study.ingest_sections import Ingest
from study.records import Instance, Reason

REPORTS, LABELS = "reports", "labels"
"""Folders of the hand-over, and tables of the run."""
TOGETHER = {REPORTS: texts_together, LABELS: labels_together}
"""How several rows of one study become one."""
SCANLESS = frozenset({Reason.NO_SCANS, Reason.PATIENT_MISMATCH})
"""Why a study has no scans; it then needs no report."""


def of_tables(run: Path, part: int, studies: frozenset[str], several: str) -> dict[str, Joined]:
    """The rows of a part of the reports, and of the labels."""
    found = {}
    for name in TOGETHER:
        rows = partition.read(run / HANDOVER / name, part, report_join.DEALT)
        found[name] = _join(report_join.from_table(rows), studies, several, name)
    return found


def of_files(
    instances: Sequence[Instance], found: Studies, settings: Ingest, limits: Limits
) -> dict[str, Joined]:
    """Reports (and labels) that a study's own files hold, where the settings ask for them."""
    studies, several = frozenset(found.groupings), settings.several_reports
    if settings.report_source == "sr":
        return {REPORTS: _join(documents(instances, limits), studies, several, REPORTS)}
    if settings.report_source == "facts":
        reports, labels = facts.rows_of(found.groupings)
        values = {REPORTS: reports, LABELS: {u: json.dumps(v) for u, v in labels.items()}}
        return {
            name: _join([Dealt(u, "", 0, u, v) for u, v in of.items()], studies, several, name)
            for name, of in values.items()
        }
    return {}


def _join(rows: Sequence[Dealt], studies: frozenset[str], several: str, name: str) -> Joined:
    return report_join.join(rows, studies, several, TOGETHER[name])


def documents(instances: Sequence[Instance], limits: Limits) -> list[Dealt]:
    """The SR documents of a study, as rows, the older ones first. Raises OSError: a disk that fails
    must not cost a study its report."""
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


def as_before(run: Path, part: int) -> Joined | None:
    """Documents as they were joined in an earlier run, without their texts; None where that was not
    written down."""
    file = part_file(run, REPORTS, part)
    if not file.exists():
        return None
    outcomes = report_join.outcomes_of(pq.read_table(file))
    rows = [o for o in outcomes if o.status is not RowStatus.MISSING]
    return Joined({o.study_uid: "" for o in rows if o.status is RowStatus.JOINED}, rows)


def write_outcomes(
    run: Path, part: int, texts: Mapping[str, Joined], with_scans: Mapping[str, bool]
) -> dict[str, JoinCounts]:
    """Write what became of the rows of reports and labels. `with_scans`: the studies that have
    scans, and whether they have sentences."""
    found = {}
    for name in TOGETHER:
        says = with_scans if name == REPORTS else dict.fromkeys(with_scans, True)
        outcomes = report_join.with_missing(texts[name], says)
        runfolder.write_part(run, name, part, report_join.outcomes_table(outcomes))
        found[name] = report_join.counts(outcomes, len(with_scans))
    return found
