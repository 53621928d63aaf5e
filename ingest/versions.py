"""A new version of a dataset, beside the old one: what other settings ask for.

In: a pipeline. Out: the pipeline with the first pair of folders that its settings fit: its own,
else DATASET-v2 and RUN-v2, and so on. The same settings find the same folders again, so that a
version goes on and is finished like any other dataset. A new version has the project key of the
first, so that studies keep their pseudonyms and patients their splits, and begins with its crawl.
"""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from ingest import summarize
from ingest.refusals import differences, shaping_settings
from shards.store import store_at
from study import private, pseudonyms
from study.config import Pipeline

TAKEN_OVER = (pseudonyms.KEY_FILE, "instances.parquet")
"""Of the run folder. The table last: who has it has both."""


def fitting(pipeline: Pipeline) -> Pipeline:
    """The pipeline with the folders of the first version that its settings made, or may make."""
    shaping = shaping_settings(pipeline)
    for number in count(1):
        version = _version(pipeline, number)
        if not differences(store_at(version.dataset), Path(version.run), shaping):
            return version
    raise AssertionError("unreachable")


def begin(first: Pipeline, version: Pipeline) -> None:
    """Give the run folder of a version what it takes over from that of the first, unless it has
    it."""
    old, new = Path(first.run), Path(version.run)
    for name in TAKEN_OVER:
        if old == new or (new / name).exists() or not (old / name).exists():
            continue
        private.private_folder(new)
        with (old / name).open("rb") as source, private.replacing(new / name) as copy:
            shutil.copyfileobj(source, copy)


def _version(pipeline: Pipeline, number: int) -> Pipeline:
    if number == 1:
        return pipeline
    places = {
        "dataset": f"{pipeline.dataset.rstrip('/')}-v{number}",
        "run": f"{pipeline.run.rstrip('/')}-v{number}",
    }
    speed = pipeline.ingest.speed
    answers = speed.answers or str(Path(pipeline.run) / summarize.FOLDER)  # nothing is paid twice
    settings = pipeline.ingest.model_copy(
        update={"speed": speed.model_copy(update={"answers": answers})}
    )
    return pipeline.model_copy(update={**places, "ingest": settings})
