"""Committed shards -> a finished dataset.

In: a folder of committed shards and how they came about. Out: index.parquet, sizes.json,
croissant.json, study.schema.json, preview.png, README.md and, last, dataset.json: a folder without
it is not a dataset. Running it again over the same shards writes the same bytes. No paths, host
names or times enter it: all of it is checked against `shards.allowed`.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from shards import allowed, card, census, commit, cover, croissant, index, schema, seal, store
from shards.commit import ShardStats
from shards.croissant import Beside
from shards.layout import SCHEMA_VERSION, Record, to_bytes
from shards.store import LocalStore, Location, Store, store_at
from study.errors import UserError

INFO_FILE = "dataset.json"
INFO_INDENT = 1
SIZES_FILE = "sizes.json"
ROW_GROUP = 1 << 16
"""Rows of a row group of index.parquet: the members of a few shards, so that one shard's are found
without reading all."""
_ENCODINGS = {schema.SCHEMA_FILE: "application/schema+json", cover.PICTURE_FILE: "image/png"}
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
    files: dict[str, str] = Field(default_factory=dict)
    """File of the dataset that belongs to no shard -> SHA-256."""
    sha256: str = ""
    """Of all the rest of this (see `seal`)."""


def finish_dataset(
    dataset: Location,
    *,
    fingerprint: str,
    provenance: Mapping[str, str],
    settings: Mapping[str, Any],
    key_fingerprint: str = "",
    name: str = "dicom2clip",
) -> DatasetInfo:
    """Index the committed shards and write dataset.json last.

    ValueError where a patient is in two splits, or a fact is not on the allow-list; nothing has
    changed then.
    """
    place = store_at(dataset)
    done = commit.committed(place)
    found, counts = census.survey(place, done), census.Counts()
    new_index = place.create(index.INDEX_FILE)
    try:
        index_sha256 = _write_index(census.index_rows(place, found, counts), new_index.stream)
        facts = {
            **counted(done, found, counts),
            "name": name if allowed.DATASET["name"].fits(name) else NAMELESS,
            "fingerprint": fingerprint,
            "key_fingerprint": key_fingerprint,
            "provenance": dict(provenance),
            "settings": dict(settings),
        }
        facts = DatasetInfo.model_validate(facts).model_dump(mode="json")
        known = {key: value for key, value in facts.items() if key != "settings"}
        allowed.refuse_misfits(allowed.misfits(known, allowed.DATASET))
        allowed.refuse_misfits(allowed.setting_misfits(facts["settings"]))
        indexed = Beside(
            index.INDEX_FILE, new_index.stream.tell(), index_sha256, "application/x-parquet"
        )
        books = books_of(facts, done, indexed, cover.picture(place, found.is_latest))
        place.remove(INFO_FILE)  # the parts below are replaced one by one
        new_index.publish()
    finally:
        new_index.discard()
    for file, data in books.items():
        store.write(place, file, data)
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in books.items()}
    facts = seal.sealed({**facts, "files": {index.INDEX_FILE: index_sha256, **hashes}})
    store.write(place, INFO_FILE, seal.text(facts, INFO_INDENT))
    return DatasetInfo.model_validate(facts)


def counted(
    done: Mapping[int, ShardStats], found: census.Survey, counts: census.Counts
) -> dict[str, Any]:
    """The fields of dataset.json that follow from the shards."""
    by_status = {
        "used": found.num_samples,
        "superseded": found.num_superseded,
        "rejected": sum(found.by_reason.values()),
    }
    return {
        "num_studies": found.num_samples,
        "num_scans": counts.num_scans,
        "num_patients": found.num_patients,
        "num_shards": len(done),
        "bytes": sum(stats.tar_bytes for stats in done.values()),
        "by_split": found.by_split,
        "by_status": {s: count for s, count in by_status.items() if count or s == "used"},
        "by_reason": found.by_reason,
        "by_modality": dict(sorted(counts.by_modality.items())),
        "shape": counts.shape,
        "intensity": _intensity(done.values()),
    }


def books_of(
    facts: Mapping[str, Any],
    done: Mapping[int, ShardStats],
    indexed: Beside,
    picture: bytes | None,
) -> dict[str, bytes]:
    """Name -> bytes of the files that only repeat what dataset.json and the shards say."""
    books = {schema.SCHEMA_FILE: schema.text()}
    if picture is not None:
        books[cover.PICTURE_FILE] = picture
    beside = [
        Beside(name, len(data), hashlib.sha256(data).hexdigest(), _ENCODINGS[name])
        for name, data in books.items()
    ]
    described = croissant.croissant(
        facts,
        done,
        (indexed, *beside),
        description=card.summary(facts),
        protected=card.PROTECTED,
    )
    shown = cover.PICTURE_FILE if picture is not None else ""
    return {
        **books,
        SIZES_FILE: sizes_text(done),
        croissant.CROISSANT_FILE: (json.dumps(described, indent=1) + "\n").encode(),
        card.README_FILE: card.readme(facts, done, shown).encode(),
    }


def sizes_text(done: Mapping[int, ShardStats]) -> bytes:
    """sizes.json: name of the tar -> samples in it."""
    sizes = {commit.tar_name(n): s.successes for n, s in sorted(done.items()) if s.successes}
    return to_bytes(sizes) + b"\n"


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
    except UserError:
        raise  # says already where and why
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    try:
        facts = json.loads(data)
        if seal.FIELD in facts and seal.damage(data, INFO_INDENT):
            raise UserError(
                f"{path} was changed after it was written; see `dicom2clip shards verify` and "
                "`repair`"
            )
        version = facts["schema_version"]
        if version > SCHEMA_VERSION:
            wanted = f"schema version {version}, this program reads up to {SCHEMA_VERSION}"
            raise UserError(f"{path} has {wanted}: use a newer dicom2clip")
        return DatasetInfo.model_validate(facts)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not the dataset.json of a dicom2clip dataset: {error}"
        ) from None


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


def _write_index(rows: Iterator[tuple[int, pa.Table]], stream: BinaryIO) -> str:
    """Write index.parquet, row group by row group; returns its SHA-256, hexadecimal."""
    hashed = _Hashed(stream)
    waiting, empty = index.SCHEMA.empty_table(), True
    with pq.ParquetWriter(pa.PythonFile(hashed, "w"), index.SCHEMA, compression="zstd") as writer:
        for _, table in rows:
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= ROW_GROUP:
                writer.write_table(waiting.slice(0, ROW_GROUP).combine_chunks())
                waiting, empty = waiting.slice(ROW_GROUP), False
        if len(waiting) or empty:
            writer.write_table(waiting.combine_chunks())
    return hashed.digest.hexdigest()


class _Hashed:
    """A stream that hashes what is written to it, and stays open for whoever owns it."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.flush()
