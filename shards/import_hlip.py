"""HLIP's folder of .pt files -> a dataset, resumable.

In: `HlipStudy`s and settings. Out: committed shards and dataset.json; and, in the private run
folder, what became of every scan. Studies go in the order of their keyed pseudonyms, so that every
shard is a fair mix, and into shards by the bytes that their listed scans take: a pure function of
the JSON files and the key. What is committed is not read again; the next shard begins where the
last one ends, so that a run that was killed and taken up again writes the bytes of one that was
not.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from shards import commit, hlip, sidecar
from shards.catalog import DatasetInfo, finish_dataset
from shards.hlip import Reading
from shards.hlip_tables import HlipStudy
from shards.store import Store
from shards.writer import ShardWriter
from study import private
from study.errors import UserError
from study.pseudonyms import key_fingerprint, pseudonym, split_of
from study.records import Reason, Rejection, Scan, Study
from study.runlog import provenance

READERS = 4
"""Studies read at a time, by threads."""
LEDGER = "hlip"
"""Folder of the run folder: a CSV file a shard, and settings.json."""
GONE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""Errors that cost a scan; any other of the disk stops the import, which can be taken up again."""
COLUMNS = ("uid", "key", "scan", "file", "status", "reason", "detail")


@dataclass(frozen=True)
class ImportSettings:
    """What shapes the dataset. `limits` and `spacing_mm` of `reading` are as the user gave them."""

    reading: Reading = field(default_factory=Reading)
    variant: str = "hlip"
    """Name of the sentences' summariser."""
    compression: str = "none"
    shard_bytes: int = 1_000_000_000
    """Of the arrays of a shard, before compression."""
    valid_fraction: float = 0.0
    test_fraction: float = 0.0
    """Of patients, where a root has no split of its own."""

    def facts(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"import_hlip": json.loads(json.dumps(asdict(self)))}


@dataclass(frozen=True)
class _Planned:
    """A study under its pseudonyms."""

    study: HlipStudy
    key: str
    patient: str
    split: str


def import_studies(
    studies: Sequence[HlipStudy],
    settings: ImportSettings,
    dataset: Store,
    run: Path,
    key: bytes,
    *,
    name: str = "hlip",
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> tuple[DatasetInfo, Counter[str]]:
    """Import what is not there yet, then finish the dataset; and scans left out, by reason.

    UserError where the dataset was made of other studies or with other settings, or a patient would
    be in two splits. Nobody else may be at work on the dataset.
    """
    ledger = run / LEDGER
    private.private_folder(ledger)
    _refuse_other(dataset, ledger, settings, key)
    commit.discard_uncommitted(dataset)
    order = _in_order(studies, settings, key)
    left = _not_done(order, dataset, settings)
    done = len(order) - len(left)
    shard = max(commit.committed(dataset), default=-1) + 1
    with ThreadPoolExecutor(READERS) as pool:
        for members in _shards(left, settings):
            _write_shard(dataset, shard, members, settings, ledger, key, pool)
            shard, done = shard + 1, done + len(members)
            on_progress("studies", done, len(order))
    info = finish_dataset(
        dataset,
        fingerprint=hashlib.sha256(_text(settings.facts()).encode()).hexdigest(),
        provenance=provenance(),
        settings=settings.facts(),
        key_fingerprint=key_fingerprint(key),
        name=name,
    )
    return info, _scans_left_out(ledger)


def _in_order(studies: Sequence[HlipStudy], settings: ImportSettings, key: bytes) -> list[_Planned]:
    planned, splits = [], dict[str, str]()
    for study in studies:
        kind, value = (
            ("patient", study.patient) if study.patient else ("patient of study", study.uid)
        )
        patient = pseudonym(key, kind, value)
        split = study.split or split_of(patient, settings.valid_fraction, settings.test_fraction)
        if splits.setdefault(patient, split) != split:
            raise UserError(
                f"uid {study.uid!r} is to be in {split}, another study of its patient is in "
                f"{splits[patient]}: a patient must be in one split"
            )
        planned.append(_Planned(study, pseudonym(key, "study", study.uid), patient, split))
    return sorted(planned, key=lambda item: item.key)


def _shards(studies: Sequence[_Planned], settings: ImportSettings) -> Iterator[list[_Planned]]:
    """Studies of each shard: as many as it takes to reach `shard_bytes`."""
    members: list[_Planned] = []
    size = 0
    for item in studies:
        members.append(item)
        size += prod(settings.reading.shape) * len(item.study.scans)
        if size >= settings.shard_bytes:
            yield members
            members, size = [], 0
    if members:
        yield members


def _not_done(
    order: Sequence[_Planned], dataset: Store, settings: ImportSettings
) -> list[_Planned]:
    """Studies that no shard has. UserError where a shard was made of something else than now."""
    by_key = {item.key: item for item in order}
    for shard, stats in sorted(commit.committed(dataset).items()):
        keys = sidecar.read(dataset, shard, ["key"])["key"].to_pylist()
        members = [by_key.pop(key, None) for key in keys]
        now = [item for item in members if item is not None]
        if len(now) < len(keys) or _content(now, settings) != stats.content:
            raise UserError(
                f"{dataset.url}: studies or texts of shard {shard} have changed since it was "
                "written; import them into a new dataset"
            )
    return list(by_key.values())


def _content(members: Sequence[_Planned], settings: ImportSettings) -> str:
    """Identity of what a shard is made of: pseudonyms, names, texts, settings."""
    studies = [
        (m.key, m.patient, m.split, m.study.scans, asdict(m.study.report), m.study.refused)
        for m in members
    ]
    return hashlib.sha256(_text([settings.facts(), studies]).encode()).hexdigest()


def _write_shard(
    dataset: Store,
    shard: int,
    members: Sequence[_Planned],
    settings: ImportSettings,
    ledger: Path,
    key: bytes,
    pool: Executor,
) -> None:
    rows: list[tuple[str, ...]] = []
    content = _content(members, settings)
    with ShardWriter(dataset, shard, settings.compression, content=content) as writer:
        for item, (scans, about) in _ahead(pool, members, settings, key):
            rows += about
            refused = item.study.refused
            if refused is None and not scans:
                refused = Rejection(Reason.NO_SCANS, "none of its scans can be used")
            if refused is not None:
                rows.append(_row(item, "", "", refused))
                writer.reject(item.key, item.patient, item.split, refused.reason)
            else:
                study = item.study
                writer.add(Study(item.key, item.patient, item.split, tuple(scans), study.report))
        # before the commit record: a committed shard always has its ledger
        _write_ledger(ledger / f"{shard:05d}.csv", rows)


Read = tuple[list[Scan], list[tuple[str, ...]]]
"""The scans of a study, and a row of the ledger for each file."""


def _ahead(
    pool: Executor, members: Sequence[_Planned], settings: ImportSettings, key: bytes
) -> Iterator[tuple[_Planned, Read]]:
    """Studies in their order, read by threads; only so many are held in memory."""
    flying: deque[tuple[_Planned, Future[Read]]] = deque()
    try:
        for item in members:
            flying.append((item, pool.submit(_read_study, item, settings, key)))
            if len(flying) > READERS:
                first, future = flying.popleft()
                yield first, future.result()
        while flying:
            first, future = flying.popleft()
            yield first, future.result()
    finally:
        for _, future in flying:
            future.cancel()


def _read_study(item: _Planned, settings: ImportSettings, key: bytes) -> Read:
    """Raises OSError where the disk fails; a file that is not there costs its scan."""
    scans: list[Scan] = []
    rows: list[tuple[str, ...]] = []
    series: dict[str, int] = {}
    if item.study.refused is not None:
        return scans, rows
    for name in item.study.scans:
        number = series.setdefault(hlip.window_of(name)[1], len(series))
        folder = item.study.root / item.study.uid / name
        try:
            files = hlip.scan_files(folder)
        except PermissionError:
            files = [("", folder / "img.pt")]  # reading it says so
        for window, file in files:
            try:
                data = file.read_bytes()
            except GONE as error:
                made: Scan | Rejection = Rejection(Reason.UNREADABLE, type(error).__name__)
            else:
                digest = pseudonym(key, "scan", hashlib.sha256(data).hexdigest())
                made = hlip.scan_of(data, name, window, number, digest, settings.reading)
            if isinstance(made, Rejection):
                rows.append(_row(item, name, file.name, made))
            else:
                scans.append(made)
                rows.append((item.study.uid, item.key, name, file.name, "used", "", ""))
    return scans, rows


def _row(item: _Planned, scan: str, file: str, why: Rejection) -> tuple[str, ...]:
    return (item.study.uid, item.key, scan, file, "rejected", str(why.reason), why.detail)


def _write_ledger(file: Path, rows: Sequence[tuple[str, ...]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([COLUMNS, *rows])
    with private.replacing(file) as stream:
        stream.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _scans_left_out(ledger: Path) -> Counter[str]:
    """Reasons of all scans that are not in the dataset, over all shards."""
    found: Counter[str] = Counter()
    for file in sorted(ledger.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            found.update(r["reason"] for r in rows if r["scan"] and r["status"] == "rejected")
    return found


def _refuse_other(dataset: Store, ledger: Path, settings: ImportSettings, key: bytes) -> None:
    """UserError where the dataset was begun by another run folder, with other settings, or is
    something else."""
    file = ledger / "settings.json"
    now = {"dataset": dataset.url, "key": key_fingerprint(key), **settings.facts()}
    if file.exists():
        before = json.loads(file.read_text())
        other = next((name for name in now if before.get(name) != now[name]), None)
        if other is not None:
            raise UserError(
                f"{file}: this run folder was begun with another {other.replace('_', ' ')}: "
                f"{_text(before.get(other))} there, {_text(now[other])} now; put it back, or give "
                "another --run and a new dataset"
            )
    elif dataset.sizes():
        raise UserError(
            f"{dataset.url} holds files that this run folder ({ledger.parent}) knows nothing of; "
            "give the --run it was begun with, or a new folder"
        )
    else:
        private.write_text(file, json.dumps(now, indent=1) + "\n")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
