"""Small DICOM folders and their ingestion, for tests of whole jobs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from dicom_files import make_series, save

from ingest import assign
from ingest.job import JobResult, ingest
from study.config import Pipeline
from study.ingest_sections import Columns, Grid, Ingest, IngestSpeed
from study.private import private_folder, write_text
from study.sections import Shards


def write_study(
    folder: Path,
    number: int,
    num_series: int = 2,
    seed: int = 0,
    shape: tuple[int, int, int] = (6, 16, 16),
) -> None:
    rng = np.random.default_rng((seed, number))
    for series in range(num_series):
        voxels = rng.integers(0, 500, shape)
        datasets = make_series(
            voxels,
            StudyInstanceUID=f"1.2.{number}",
            SeriesInstanceUID=f"1.2.{number}.{series}",
            SeriesNumber=series,
            PatientID=f"P{number}",
            EchoTime=10.0 + series,
        )
        for n, dataset in enumerate(datasets):
            dataset.SOPInstanceUID = f"1.2.{number}.{series}.{n}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        save(datasets, folder / f"study{number}" / f"series{series}")


def write_reports(file: Path, numbers: range) -> None:
    rows = [f'1.2.{n},"FINDINGS: Finding number {n}. No bleed."' for n in numbers]
    file.write_text("\n".join(["StudyInstanceUID,report", *rows]) + "\n")


def write_key(run: Path, digits: str) -> None:
    """The project key that a job finds, readable by its owner alone, as it is made."""
    private_folder(run)
    write_text(run / "project.key", digits)


def pipeline(folder: Path, scheduler: str = "", *, workers: int = 1, **changes: object) -> Pipeline:
    settings: dict[str, object] = {
        "source": str(folder / "scans"),
        "reports": str(folder / "reports.csv"),
        "columns": Columns(),
        "grid": Grid(depth=4, resize=16, size=16),
        "speed": IngestSpeed(scheduler=scheduler, workers=workers),
        **changes,
    }
    return Pipeline(
        name="test",
        dataset=str(folder / "dataset"),
        run=str(folder / "run"),
        ingest=Ingest(**settings),  # type: ignore[arg-type]
        shards=Shards(studies_per_shard=2),
    )


def run(pipeline: Pipeline) -> JobResult:
    return ingest(pipeline, lambda stage, done, total: None)


def fingerprints(dataset: Path) -> dict[str, str]:
    """sha256 of every file of a dataset but the commit records, which hold seconds."""
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(dataset.iterdir())
        if not p.name.endswith("_stats.json")
    }


def places(home: Path) -> dict[str, int]:
    """Study key -> shard, as the book of a run says."""
    book = assign.read(home / "run" / "plan.parquet")
    return dict(
        zip([key.decode() for key in book.keys.tolist()], book.shards.tolist(), strict=True)
    )
