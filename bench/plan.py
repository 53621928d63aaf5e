"""The plan of a big export: minutes, memory, rows a second.

In: a number of images. Out: JSON. A table of instances as a crawl leaves it is made up, streaming:
studies of about a hundred images in two to five series, in the order of their paths, with reports
and labels for nine in ten. Then it is planned as the job does it: dealt out in parts, grouped,
scrubbed, answered, assigned to shards, the ledger written; then once more, as after a kill.
Memory is what all processes hold resident at the same time, looked at four times a second, pages
that several share counted for each.

    python bench/plan.py --images 5000000 --workers 2 --home FOLDER
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ingest import job, table, turn
from ingest.cluster import Workers
from ingest.live import Live
from ingest.planning import group_all
from ingest.ready import Begun, answered, plan
from study import private, pseudonyms
from study.config import Pipeline
from study.ingest_sections import Ingest, IngestSpeed
from study.runlog import RunLog
from study.sections import Shards

STUDIES_AT_A_TIME = 500
ROOT = "1.2.826.0.1.3680043.8.498"
REPORT = (
    "TECHNIQUE: Multiplanar multisequence imaging of the head.\nCOMPARISON: {day}, Dr. {name}.\n"
    "FINDINGS: {name} {given} was seen on {day}. There is no acute infarct, hemorrhage or mass. "
    "The ventricles are normal in size. A {size} mm lesion is seen in the {side} frontal lobe. "
    "Scattered foci of T2 prolongation in the white matter are nonspecific. The orbits are normal. "
    "The paranasal sinuses are clear. The major flow voids are preserved.\n"
    "IMPRESSION:\n1. {size} mm lesion in the {side} frontal lobe.\n2. No acute infarct.\n"
)
LABELS = [f"finding {chr(ord('a') + n)}" for n in range(18)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=5_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--home", type=Path, required=True)
    options = parser.parse_args()
    run = options.home / "run"
    private.private_folder(run)
    start = time.monotonic()
    if not (run / "instances.parquet").exists():
        write_cohort(options.home, options.images)
    made = time.monotonic() - start
    pipeline = Pipeline(
        name="bench",
        dataset=str(options.home / "dataset"),
        run=str(run),
        ingest=Ingest(
            source=(str(options.home),),
            reports=str(options.home / "reports.csv"),
            labels=str(options.home / "labels.csv"),
            speed=IngestSpeed(workers=options.workers),
        ),
        shards=Shards(),
    )
    facts = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "images": table.num_rows(run / "instances.parquet"),
        "instances_mb": (run / "instances.parquet").stat().st_size / 1e6,
        "made_up_s": round(made, 1),
        "first": planned(pipeline),
        "again": planned(pipeline),
    }
    print(json.dumps(facts, indent=1))


def planned(pipeline: Pipeline) -> dict[str, Any]:
    """Plan once; seconds and memory."""
    run, stages = Path(pipeline.run), Stages()
    key = pseudonyms.project_key(run / pseudonyms.KEY_FILE)
    with (
        Memory() as memory,
        Workers(pipeline.ingest.speed) as workers,
        RunLog(run / "log.jsonl") as log,
    ):
        start = time.monotonic()
        of_turn = turn.begin(run)
        grouped = group_all(pipeline, key, workers, stages, of_turn)
        live = Live(run, workers, stages)
        begun = Begun(pipeline, grouped, workers, live, log, key, {}, of_turn)
        work = plan(begun, answered(begun))
        planned_s = time.monotonic() - start
        sums = job.settled_ledger(work)
        seconds = time.monotonic() - start
    assert sums.images == work.grouped.images
    return {
        **work.as_json(),
        "shards": len(work.places.missing),
        "seconds": round(seconds, 1),
        "of_these_dealing": round(stages.seconds("deal"), 1),
        "of_these_ledger": round(seconds - planned_s, 1),
        "images_per_s": round(sums.images / seconds),
        "peak_gb_client": round(memory.client / 1e9, 2),
        "peak_gb_worker": round(memory.worker / 1e9, 2),
        "peak_gb_all": round(memory.all / 1e9, 2),
        "ledger": dict(sums.by_status),
    }


class Stages:
    """When each stage of the plan was heard of."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._times.setdefault(stage, []).append(time.monotonic())

    def seconds(self, stage: str) -> float:
        times = self._times.get(stage, [0.0])
        return times[-1] - times[0]


class Memory:
    """Peaks of resident memory: of this process, of one of its children, of all together."""

    def __init__(self) -> None:
        self.client = self.worker = self.all = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.25):
            own = me.memory_info().rss
            others = [_resident(child) for child in me.children(recursive=True)]
            self.client = max(self.client, own)
            self.worker = max([self.worker, *others])
            self.all = max(self.all, own + sum(others))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


# -------------------------------------------------------------------------------- a made-up export


def write_cohort(home: Path, images: int) -> None:
    """instances.parquet, reports.csv and labels.csv, some studies at a time."""
    rng = np.random.default_rng(0)
    with (
        private.replacing(home / "run" / "instances.parquet") as stream,
        pq.ParquetWriter(stream, table.SCHEMA, compression="zstd") as writer,
        (home / "reports.csv").open("w", newline="") as reports,
        (home / "labels.csv").open("w", newline="") as labels,
    ):
        texts, marks = csv.writer(reports), csv.writer(labels)
        texts.writerow(["StudyInstanceUID", "report"])
        marks.writerow(["StudyInstanceUID", *LABELS])
        written = study = 0
        while written < images:
            series = [
                (study + n, s, int(rng.integers(20, 45)))
                for n in range(STUDIES_AT_A_TIME)
                for s in range(int(rng.integers(2, 6)))
            ]
            rows = instances(series, rng)
            writer.write_table(rows.slice(0, images - written), table.ROW_GROUP)
            written += len(rows)
            for n in range(study, study + STUDIES_AT_A_TIME):
                if n % 10:
                    texts.writerow([study_uid(n), report(n)])
                    marks.writerow([study_uid(n), *rng.integers(0, 2, len(LABELS)).tolist()])
            study += STUDIES_AT_A_TIME


def study_uid(number: int) -> str:
    """Spread like those of real scanners, not counted up."""
    return f"{ROOT}.{number * 2654435761 % 2**32:010d}.{number:08d}"


def report(number: int) -> str:
    return REPORT.format(
        day=f"{1 + number % 12}/{1 + number % 28}/2021",
        name=f"Name{number % 5000:04d}",
        given=f"Given{number % 700:03d}",
        size=2 + number % 30,
        side=("left", "right")[number % 2],
    )


def instances(series: list[tuple[int, int, int]], rng: np.random.Generator) -> pa.Table:
    """Rows of (study, series of it, slices), axial MR volumes with the facts that a crawl finds."""
    lengths = np.array([slices for _, _, slices in series])
    total = int(lengths.sum())
    of_row = np.repeat(np.arange(len(series)), lengths)
    number = np.concatenate([np.arange(n) for n in lengths.tolist()])

    def each(values: list[Any]) -> pa.Array:
        """A value a series, for each of its rows."""
        return pa.array(values).take(pa.array(of_row))

    def made(values: Iterator[Any]) -> pa.Array:
        return pa.array(list(values))

    uids = [f"{study_uid(n)}.{s}" for n, s, _ in series]
    paths = [f"/archive/2021/{n % 97:02d}/{n:08d}/{s:03d}" for n, s, _ in series]
    steps = rng.uniform(0.9, 5.0, len(series)).round(2)[of_row]
    origins = rng.normal(0, 40, (len(series), 3)).round(3)[of_row]
    origins[:, 2] += steps * number
    sop = [f"{uids[r]}.{k}" for r, k in zip(of_row.tolist(), number.tolist(), strict=True)]
    known: dict[str, pa.Array] = {
        "path": made(f"{paths[r]}/{u}.dcm" for r, u in zip(of_row.tolist(), sop, strict=True)),
        "study_uid": each([study_uid(n) for n, _, _ in series]),
        "series_uid": each(uids),
        "sop_uid": pa.array(sop),
        "sop_class_uid": each(["1.2.840.10008.5.1.4.1.1.4"] * len(series)),
        "transfer_syntax_uid": each(["1.2.840.10008.1.2.1"] * len(series)),
        "patient_key": each([f"HOSPITAL|{n // 2:07d}" for n, _, _ in series]),
        "accession_number": each([f"A{n:08d}" for n, _, _ in series]),
        "modality": each(["MR"] * len(series)),
        "image_type": each([["ORIGINAL", "PRIMARY", "M", "ND"]] * len(series)),
        "manufacturer": each(["SIEMENS"] * len(series)),
        "series_number": each([s + 1 for _, s, _ in series]),
        "acquisition_number": each([1] * len(series)),
        "instance_number": pa.array(number + 1),
        "study_description": each(["MRI BRAIN W/O CONTRAST"] * len(series)),
        "series_description": each([f"ax sequence {s}" for _, s, _ in series]),
        "protocol_name": each([f"ax sequence {s}" for _, s, _ in series]),
        "body_part": each(["HEAD"] * len(series)),
        "study_date": each(["20210315"] * len(series)),
        "content_time": made(f"{101500 + k}.25" for k in number.tolist()),
        "patient_age": each([f"{20 + n % 70:03d}Y" for n, _, _ in series]),
        "patient_sex": each(["MF"[n % 2] for n, _, _ in series]),
        "rows": each([256] * len(series)),
        "columns": each([256] * len(series)),
        "photometric": each(["MONOCHROME2"] * len(series)),
        "position_mm": pa.array(origins.tolist()),
        "orientation": each([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]] * len(series)),
        "pixel_spacing_mm": each([[0.9, 0.9]] * len(series)),
        "slice_thickness_mm": pa.array(steps),
        "echo_time_ms": each([10.0 + 30 * s for _, s, _ in series]),
        "repetition_time_ms": each([500.0 + 900 * s for _, s, _ in series]),
        "magnetic_field_t": each([1.5] * len(series)),
        "bits_stored": each([12] * len(series)),
        "identifying": each(
            [
                [f"NAME=Name{n % 5000:04d}^Given{n % 700:03d}", f"ID={n // 2:07d}", f"A{n:08d}"]
                for n, _, _ in series
            ]
        ),
        "file_bytes": pa.array(rng.integers(131_000, 134_000, total)),
        "file_mtime_ns": pa.array(1_600_000_000_000_000_000 + rng.integers(0, 2**50, total)),
    }
    columns = []
    for name, default in DEFAULTS.items():
        kind = table.SCHEMA.field(name).type
        columns.append(
            known[name].cast(kind) if name in known else pa.repeat(pa.scalar(default, kind), total)
        )
    return pa.table(columns, schema=table.SCHEMA)


def defaults() -> dict[str, Any]:
    from study.records import Instance

    plain = Instance(path="")
    return {name: getattr(plain, name) for name in table.SCHEMA.names}


DEFAULTS = defaults()

if __name__ == "__main__":
    main()
