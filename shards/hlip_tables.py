"""HLIP's JSON files -> its studies.

In: for each root, JSON {uid: [scan names]} and {uid: [sentences] or text}, and perhaps tables of
uids and of patients (CSV). Out: `HlipStudy`s, each with what it has or why it cannot be used. Of
one uid what is wrong costs that study; a file of another form is the user's error.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from study.errors import UserError
from study.records import Reason, Rejection, Report

LONGEST_NAME, DEEPEST = 255, 8
"""Bytes of a file's name (NAME_MAX of Linux); folders between a root and a scan's files."""


@dataclass(frozen=True)
class HlipSource:
    """A root, and the files that say what is in it."""

    root: Path
    scans: Path
    reports: Path | None = None
    """None: studies without text."""
    split: str = ""
    """Of all its studies; empty: drawn from the patient."""


@dataclass(frozen=True)
class HlipStudy:
    """A study as HLIP's files tell of it."""

    uid: str
    root: Path
    scans: tuple[str, ...]
    report: Report
    split: str
    patient: str
    """As the table of patients says; empty: not known."""
    refused: Rejection | None = None
    """Why it cannot be used, whatever its scans hold."""


def read_studies(
    sources: Sequence[HlipSource],
    variant: str,
    *,
    uids: Collection[str] | None = None,
    patients: Mapping[str, str] | None = None,
) -> tuple[list[HlipStudy], int]:
    """Studies of all roots, and how many were left out as `uids` does not name them.

    UserError for a file of another form, a uid that is in two roots, or in `uids` but in no root.
    """
    studies: dict[str, HlipStudy] = {}
    left_out = 0
    for source in sources:
        scans = _read_json("--scans", source.scans)
        reports = None if source.reports is None else _read_json("--reports", source.reports)
        for uid in dict.fromkeys([*(reports or ()), *scans]):
            if uids is not None and uid not in uids:
                left_out += 1
                continue
            if uid in studies:
                raise UserError(f"uid {uid!r} is in {studies[uid].root} and in {source.root}")
            patient = (patients or {}).get(uid, "")
            studies[uid] = _study(source, uid, scans, reports, variant, patient)
    unknown = sorted(set(uids or ()) - studies.keys())
    if unknown:
        raise UserError(
            f"--uids: {len(unknown)} are in no --scans or --reports, {unknown[0]!r} first"
        )
    return list(studies.values()), left_out


def read_column(option: str, file: Path, *columns: str) -> list[tuple[str, ...]]:
    """Columns of a CSV file, as text. UserError where one is missing."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            missing = [name for name in columns if name not in (table.fieldnames or ())]
            if missing:
                have = ", ".join(table.fieldnames or ()) or "no columns"
                raise UserError(f"{option} {file}: there is no column {missing[0]}; it has {have}")
            return [tuple((row[name] or "").strip() for name in columns) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{option} {file}: {error}") from None


def _study(
    source: HlipSource,
    uid: str,
    scans: Mapping[str, Any],
    reports: Mapping[str, Any] | None,
    variant: str,
    patient: str,
) -> HlipStudy:
    names = scans.get(uid)
    refused = None
    report = Report()
    if reports is not None:
        found = _report(reports.get(uid), variant)
        if isinstance(found, Rejection):
            refused = found
        else:
            report = found
    if names is None or names == []:
        refused = refused or Rejection(Reason.NO_SCANS, "no scans are listed")
        names = []
    elif not isinstance(names, list) or not all(_is_place(f"{uid}/{name}", name) for name in names):
        refused = Rejection(Reason.UNREADABLE, "its scans are not a list of names of folders")
        names = []
    unique = tuple(dict.fromkeys(names))
    return HlipStudy(uid, source.root, unique, report, source.split, patient, refused)


def _report(said: Any, variant: str) -> Report | Rejection:
    """A list is sentences, each one a finding; a text is a report, and its only sentence."""
    if isinstance(said, str):
        text = said.strip()
        return Report({variant: (text,)}, text) if text else Rejection(Reason.NO_REPORT, "empty")
    if said is None or said == []:
        return Rejection(Reason.NO_REPORT, "no sentences")
    if not isinstance(said, list) or not all(isinstance(sentence, str) for sentence in said):
        return Rejection(Reason.UNREADABLE, "its report is not a list of sentences, nor a text")
    sentences = tuple(sentence.strip() for sentence in said if sentence.strip())
    return Report({variant: sentences}) if sentences else Rejection(Reason.NO_REPORT, "empty")


def _is_place(path: str, name: Any) -> bool:
    """Whether a scan's folder lies below its root, and can be the name of one."""
    if not isinstance(name, str) or "\0" in path:
        return False
    try:
        parts = PurePosixPath(path).parts
        fits = all(len(os.fsencode(part)) <= LONGEST_NAME for part in parts)
    except UnicodeEncodeError:
        return False
    return fits and len(parts) <= DEEPEST and not path.startswith("/") and ".." not in parts


def _read_json(option: str, file: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a uid comes more than once")
        return found

    try:
        value = json.loads(file.read_bytes(), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{option} {file}: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{option} {file}: it must map uids to lists, as HLIP's JSON files do")
    return value
