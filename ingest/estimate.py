"""What an ingestion would do, before it does it: counts, bytes, tasks, time, cost.

In: a pipeline whose images are crawled and planned (that is kept in the run folder and serves the
run afterwards; the dataset is not touched). Out: an `Estimate`. Time is extrapolated from some
studies, drawn evenly from all that are to be converted, converted here and thrown away: seconds a
slice, since slices are what conversion reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich import filesize

from ingest import answers, taskstore
from ingest.convert import convert_study
from ingest.llm_cost import money
from ingest.plan import StudyTask
from ingest.ready import prepared
from ingest.supervise import limits_of
from shards import codec
from shards.layout import SUFFIX
from study.config import Pipeline
from study.records import Reason

SAMPLE_STUDIES = 12
"""Studies that are timed, at most."""
SAMPLE_S = 60.0
"""Seconds after which no further study is timed."""
CHARACTERS_A_TOKEN = 4
"""Of English prose, for models of the GPT family."""


@dataclass(frozen=True)
class Estimate:
    """What a run would find and do."""

    images: int
    studies: int
    """That have a StudyInstanceUID and images."""
    studies_to_convert: int
    """Of those in shards that are missing: the ones with volumes and not rejected before."""
    volumes_to_convert: int
    slices_to_convert: int
    shards_done: int
    tasks: int
    """Shards to be written."""
    workers: int
    timed_studies: int
    seconds_a_study: float | None
    """None where nothing could be timed."""
    seconds: float | None
    """Until all is written, with those workers."""
    dataset_bytes: int | None
    """That would be added."""
    reports: int
    """Studies to convert that have one."""
    report_tokens: int
    """Of those reports, about: each identical text once."""
    llm_requests: Mapping[str, int]
    """To each of the pipeline's language models, for reports that it has not answered yet."""
    llm_cost: Mapping[str, float]
    """Of those, in the currency of the prices; the rule-based summariser costs nothing."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        done = f"{self.shards_done:,} shards are done"
        known = f"{self.images:,} images, {self.studies:,} studies; {done}"
        if not self.tasks:
            return [known, "nothing to do"]
        volumes = f"{self.volumes_to_convert:,} volumes of {self.slices_to_convert:,} slices"
        lines = [
            known,
            f"to do: {self.tasks:,} tasks (shards), {self.studies_to_convert:,} studies, {volumes}",
        ]
        if self.seconds is None or self.dataset_bytes is None:
            lines.append("time: nothing could be timed")
        else:
            lasts = f"about {timedelta(seconds=round(self.seconds))} with {self.workers} workers"
            timed = f"{self.timed_studies} studies timed, {self.seconds_a_study:.2g} s each"
            lines.append(f"dataset: about {filesize.decimal(self.dataset_bytes)}")
            lines.append(f"time: {lasts} ({timed})")
        tokens = f"{self.report_tokens:,} tokens of {self.reports:,} reports"
        lines.append(f"summaries: offline, no cost (about {tokens})")
        for name, requests in self.llm_requests.items():
            cost = f"cost about {money(self.llm_cost[name])}"
            lines.append(f"language models: {name}, {requests:,} requests, {cost}")
        return lines


def estimate(pipeline: Pipeline, progress: Callable[[str, int, int], None]) -> Estimate:
    """Crawl and plan what a run would, and time some of it. Raises UserError as `job.ingest`."""
    with prepared(pipeline, progress, spend=False) as work:
        pipeline, workers = work.begun.pipeline, work.begun.workers.count()
        models = {
            asking.name: answers.ask(
                Path(pipeline.run),
                work.grouped.parts,
                pipeline.ingest,
                asking,
                work.begun.live,
                dry_run=True,
            ).estimate
            for asking in answers.askings(pipeline.ingest)
        }
    run, parts = Path(pipeline.run), work.grouped.parts
    wanted = np.array(sorted(key for task in work.places.missing for key in task.keys), object)
    facts = _volumes(run, set(wanted.tolist()))
    drawn = wanted[np.linspace(0, len(wanted) - 1, min(len(wanted), SAMPLE_STUDIES), dtype=int)]
    timed = _time(pipeline, taskstore.read(run, parts, drawn.tolist()), progress)
    seconds = timed.seconds / timed.slices * facts.slices if timed.slices else None
    return Estimate(
        images=work.grouped.images,
        studies=len(work.grouped.keys),
        studies_to_convert=facts.studies,
        volumes_to_convert=facts.volumes,
        slices_to_convert=facts.slices,
        shards_done=len(work.places.settled),
        tasks=len(work.places.missing),
        workers=workers,
        timed_studies=timed.studies,
        seconds_a_study=round(timed.seconds / timed.studies, 3) if timed.studies else None,
        seconds=round(seconds / max(1, min(workers, len(work.places.missing))), 3)
        if seconds is not None
        else None,
        dataset_bytes=round(timed.num_bytes / timed.slices * facts.slices)
        if timed.slices
        else None,
        reports=facts.reports,
        report_tokens=facts.report_characters // CHARACTERS_A_TOKEN,
        llm_requests={variant: found.requests for variant, found in models.items()},
        llm_cost={variant: round(found.cost, 4) for variant, found in models.items()},
    )


@dataclass
class _Facts:
    studies: int = 0
    volumes: int = 0
    slices: int = 0
    reports: int = 0
    report_characters: int = 0


def _volumes(run: Path, wanted: set[str]) -> _Facts:
    """Sums over the studies that are to be converted, part by part."""
    facts, texts = _Facts(), set[int]()
    for file in sorted((run / "studies.parquet").glob("*.parquet")):
        rows = pq.read_table(file, columns=["key", "reason", "report"]).to_pylist()
        kept = {row["key"] for row in rows if row["key"] in wanted and not row["reason"]}
        scans = pq.read_table(run / "scans.parquet" / file.name, columns=["key", "num_slices"])
        ours = scans.filter(pc.is_in(scans["key"], pa.array(sorted(kept), pa.string())))
        facts.studies += len(kept)
        facts.volumes += len(ours)
        facts.slices += pc.sum(ours["num_slices"]).as_py() or 0
        for row in rows:
            if row["key"] in kept and row["report"]:
                facts.reports += 1
                if (text := hash(row["report"])) not in texts:
                    texts.add(text)
                    facts.report_characters += len(row["report"])
    return facts


@dataclass
class _Timed:
    studies: int = 0
    slices: int = 0
    seconds: float = 0.0
    num_bytes: int = 0


def _time(
    pipeline: Pipeline, tasks: Iterable[StudyTask], progress: Callable[[str, int, int], None]
) -> _Timed:
    """Convert some studies and keep nothing of them but their size and how long it took."""
    found, settings = _Timed(), pipeline.ingest
    limits, kind = limits_of(settings.speed), SUFFIX[pipeline.shards.compression].lstrip(".")
    for number, task in enumerate(tasks):
        if found.seconds > SAMPLE_S:
            break
        if not number:  # the first one starts the decoding process, so it is done twice
            convert_study(task, settings.grid, settings.intensity, limits)
        start = time.perf_counter()
        study, _ = convert_study(task, settings.grid, settings.intensity, limits)
        if not isinstance(study, Reason):
            found.num_bytes += sum(len(codec.encode(scan.array, kind)) for scan in study.scans)
        found.seconds += time.perf_counter() - start
        found.studies += 1
        found.slices += sum(len(plan.slices) for plan in task.plans)
        progress("sample", number + 1, SAMPLE_STUDIES)
    return found
