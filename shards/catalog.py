"""Committed shards -> a finished dataset.

In: a folder of committed shards and how they came about. Out: index.parquet, sizes.json,
croissant.json, README.md and, last, dataset.json: a folder without it is not a dataset. Running it
again over the same shards writes the same bytes. No paths, host names or times enter it: all of it
is checked against `shards.allowed`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from shards import allowed, card, commit, index, sidecar, store
from shards.index import SampleRef
from shards.layout import SCHEMA_VERSION, Record, to_bytes
from shards.store import LocalStore, Location, Store, store_at
from study.errors import UserError

INFO_FILE = "dataset.json"
NAMELESS = "dataset"
"""Name of a dataset whose own is not on the allow-list."""


class DatasetInfo(Record):
    """`dataset.json`: what is in the dataset and what shaped it."""

    schema_version: int = SCHEMA_VERSION
    name: str
    fingerprint: str
    """Of the settings that shaped the arrays (study.config.fingerprint)."""
    key_fingerprint: str
    """Of the project key under which the study keys were made; empty where none was given."""
    num_studies: int
    """Samples in the index."""
    num_scans: int
    num_patients: int
    num_shards: int
    bytes: int
    """Of all tars."""
    by_split: dict[str, int]
    """Split -> samples."""
    by_status: dict[str, int]
    """used, rejected and, where a later shard has a newer version of a study, superseded ->
    studies."""
    by_reason: dict[str, int]
    """Reason code -> rejected studies."""
    by_modality: dict[str, int]
    """Modality -> samples that have a scan of it."""
    shape: tuple[int, int, int] | None
    """(D, H, W) of every scan; None where they differ or there is none."""
    intensity: dict[str, dict[str, float]]
    """"MODALITY window" and "all" -> mean and std of stored values (0 to 255)."""
    provenance: dict[str, str]
    settings: dict[str, Any]


def finish_dataset(
    dataset: Location,
    *,
    fingerprint: str,
    provenance: Mapping[str, str],
    settings: Mapping[str, Any],
    key_fingerprint: str = "",
    name: str = "dicom2clip",
    shards: Collection[int] | None = None,
) -> DatasetInfo:
    """Index the committed shards (or those of them in `shards`) and write dataset.json last.

    ValueError where a patient is in two splits, or a fact is not on the allow-list.
    """
    place = store_at(dataset)
    done = {n: s for n, s in commit.committed(place).items() if shards is None or n in shards}
    tables = {n: sidecar.read(place, n) for n in sorted(done)}
    every = [sample for n, table in tables.items() for sample in sidecar.samples(table, n)]
    samples = index.latest(every)
    check_splits(samples)
    rows = [
        row
        for table in tables.values()
        for row in table.select(["key", "status", "modalities"]).to_pylist()
    ]
    reasons: Counter[str] = Counter()
    for stats in done.values():
        reasons.update(stats.rejected)
    used = {
        "used": len(samples),
        "superseded": len(every) - len(samples),
        "rejected": sum(reasons.values()),
    }
    modalities = {row["key"]: row["modalities"] for row in rows if row["status"] == "used"}
    info = DatasetInfo(
        name=name if allowed.DATASET["name"].fits(name) else NAMELESS,
        fingerprint=fingerprint,
        key_fingerprint=key_fingerprint,
        num_studies=len(samples),
        num_scans=sum(len(sample.scans) for sample in samples),
        num_patients=len({sample.patient for sample in samples}),
        num_shards=len(done),
        bytes=sum(stats.tar_bytes for stats in done.values()),
        by_split=_counts(sample.split for sample in samples),
        by_status={status: count for status, count in used.items() if count or status == "used"},
        by_reason=dict(sorted(reasons.items())),
        by_modality=_counts(modality for found in modalities.values() for modality in found),
        shape=_common_shape(samples),
        intensity=_intensity(done.values()),
        provenance=dict(provenance),
        settings=dict(settings),
    )
    facts = info.model_dump(mode="json")
    known = {key: value for key, value in facts.items() if key != "settings"}
    allowed.refuse_misfits(allowed.misfits(known, allowed.DATASET))
    allowed.refuse_misfits(allowed.setting_misfits(facts["settings"]))
    sizes = {commit.tar_name(n): s.successes for n, s in sorted(done.items()) if s.successes}
    croissant = card.croissant(facts, done)
    place.remove(INFO_FILE)  # the parts below are replaced one by one
    index.save(place, samples)
    store.write(place, "sizes.json", to_bytes(sizes) + b"\n")
    store.write(place, card.CROISSANT_FILE, (json.dumps(croissant, indent=1) + "\n").encode())
    store.write(place, card.README_FILE, card.readme(facts).encode())
    store.write(place, INFO_FILE, (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())
    return info


def is_finished(dataset: Location) -> bool:
    """Whether there is a `dataset.json`."""
    return store_at(dataset).size(INFO_FILE) is not None


def read_info(dataset: Location) -> DatasetInfo:
    """`dataset.json` of a finished dataset. UserError where there is none, saying what to do."""
    place = store_at(dataset)
    path = f"{place.url}/{INFO_FILE}"
    try:
        data = place.read(INFO_FILE)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UserError(_why_no_dataset(place)) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    try:
        facts = json.loads(data)
        version = facts["schema_version"]
        if version > SCHEMA_VERSION:
            wanted = f"schema version {version}, this program reads up to {SCHEMA_VERSION}"
            raise UserError(f"{path} has {wanted}: use a newer dicom2clip")
        return DatasetInfo.model_validate(facts)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not the dataset.json of a dicom2clip dataset: {error}"
        ) from None


def check_splits(samples: Iterable[SampleRef]) -> None:
    """ValueError where a patient's studies are in more than one split."""
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        splits[sample.patient].add(sample.split)
    torn = sorted(patient for patient, found in splits.items() if len(found) > 1)
    if torn:
        raise ValueError(f"{len(torn)} patients are in more than one split, {torn[0]} among them")


def _why_no_dataset(place: Store) -> str:
    make, dataset = "`dicom2clip run PIPELINE --stage ingest`", place.url
    if isinstance(place, LocalStore) and place.folder.is_file():
        return f"{dataset} is a file; give the folder that holds {INFO_FILE}"
    if not place.exists():
        return f"there is no folder {dataset}; make it with {make}"
    shards = len(commit.committed(place))
    if shards:
        return (
            f"{dataset} has {shards} finished shards but no {INFO_FILE}: ingestion has not come to "
            f"its end; run the same {make} again, it goes on where it stopped"
        )
    return f"{dataset} has no {INFO_FILE}: it is not a dataset; make one with {make}"


def _common_shape(samples: Iterable[SampleRef]) -> tuple[int, int, int] | None:
    shapes = {address.shape for sample in samples for address in sample.scans}
    if len(shapes) != 1:
        return None
    depth, height, width = shapes.pop()
    return depth, height, width


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _intensity(shards: Iterable[commit.ShardStats]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation by kind of scan, from the shards' histograms."""
    histograms: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros(256, np.int64))
    for stats in shards:
        for name, counts in stats.histograms.items():
            histograms[name] += np.array(counts)
            histograms["all"] += np.array(counts)
    values = np.arange(256)
    result = {}
    for name, counted in sorted(histograms.items()):
        mean = float((counted * values).sum() / counted.sum())
        variance = float((counted * (values - mean) ** 2).sum() / counted.sum())
        result[name] = {"mean": round(mean, 4), "std": round(variance**0.5, 4)}
    return result
