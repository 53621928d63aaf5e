"""All that comes before the first pixel: images crawled, grouped, planned, and that written down.

In: a `Pipeline`. Out: `Work`, with the run folder held as long as the block lasts. Folders,
tables and settings are checked before the first byte is written; the dataset is not touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import RenderableType

from ingest import answers, assign, presidio_spans, table, turn
from ingest.allowlist import public_settings
from ingest.answers import Asking
from ingest.cluster import Workers
from ingest.crawl import settings_of
from ingest.live import Live
from ingest.llm_spent import Spent
from ingest.long_crawl import Crawled, crawl_in_chunks
from ingest.planning import Grouped, check_tables, group_all
from ingest.refusals import (
    SETTINGS_FILE,
    refuse_mixed_folders,
    refuse_other_key,
    refuse_other_settings,
    shaping_settings,
)
from ingest.runfolder import write_config
from ingest.selection import with_lists
from ingest.supervise import limits_of
from shards.store import store_at
from shards.writer import committed
from study import private, pseudonyms
from study.alone import alone_in
from study.config import Pipeline, fingerprint
from study.errors import UserError
from study.ingest_sections import Ingest
from study.quantities import size_bytes
from study.records import Instance
from study.runlog import RunLog

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, all); stages are "crawl", "deal" and "plan" (images dealt out,
and parts of them grouped, where there are several), and "shards"."""
Show = Callable[[Callable[[], RenderableType | None]], None]
"""Takes what is to stand below the progress, which may be asked for at any time."""


@dataclass(frozen=True)
class Choice:
    """Which studies get a sample now: one for each of `Grouped.keys`."""

    is_wanted: np.ndarray
    """The others are left as they are."""
    is_again: np.ndarray
    """To be made anew although nothing about them changed."""


class Choose(Protocol):
    """Says which studies get a sample, once all are grouped, and their places in earlier runs and
    the content of the committed shards are known."""

    def __call__(
        self, grouped: Grouped, before: assign.Places, done: Mapping[int, str], workers: Workers
    ) -> Choice: ...


def unseen(_below: Callable[[], RenderableType | None]) -> None:
    """A `Show` for jobs that nobody watches."""


@contextmanager
def prepared(
    pipeline: Pipeline,
    progress: Progress,
    show: Show = unseen,
    choose: Choose | None = None,
    *,
    spend: bool = True,
) -> Iterator[Work]:
    """Crawl, group, have language models asked where the pipeline has some, and plan. Without
    `spend` none is asked, and what they have answered before is taken. UserError as `job.ingest`.
    """
    with grouped_in(pipeline, progress, show) as begun:
        for asking in answers.askings(begun.pipeline.ingest) if spend else ():
            answers.refuse_unanswered(asking, asked(begun, asking))
        work = plan(begun, answered(begun), choose)
        begun.log.event("planned", **work.as_json())
        yield work


def asked(begun: Begun, asking: Asking, **how: Any) -> Spent:
    """Have a language model asked about all reports that it has not answered yet; `how` as of
    `llm_run.ask`."""
    run, settings = Path(begun.pipeline.run), begun.pipeline.ingest
    spent = answers.ask(run, begun.grouped.parts, settings, asking, begun.live, **how)
    begun.log.event("asked", name=asking.name, **answers.facts_of(spent))
    return spent


def answered(begun: Begun) -> answers.Answered:
    """The studies with the sentences and labels that the pipeline has language models make, as far
    as they have answered."""
    run, settings = Path(begun.pipeline.run), begun.pipeline.ingest
    if not settings.summarizers and not settings.labelers:
        return answers.Answered(begun.grouped)
    found = answers.put(run, begun.grouped, settings, begun.workers, begun.live, begun.of_turn)
    begun.log.event("answered", **found.as_json())
    return found


@contextmanager
def grouped_in(pipeline: Pipeline, progress: Progress, show: Show = unseen) -> Iterator[Begun]:
    """The images crawled and grouped, and that written into the run folder, which is held."""
    run, dataset = Path(pipeline.run), store_at(pipeline.dataset)
    refuse_mixed_folders(pipeline)
    select = with_lists(pipeline.ingest.select)
    pipeline = pipeline.model_copy(
        update={"ingest": pipeline.ingest.model_copy(update={"select": select})}
    )
    presidio_spans.in_use(_with_source(pipeline))
    check_tables(pipeline.ingest)
    shaping = shaping_settings(pipeline)
    refuse_other_settings(dataset, run, shaping)
    _refuse_unwritable(run)  # better now than after a crawl of hours
    if run.is_dir():
        with alone_in(run):
            pass
    with (
        Workers(pipeline.ingest.speed, run) as workers,
        Live(run, workers, progress) as live,
    ):
        show(live.table)
        instances = Crawled(_crawl(pipeline, workers, live), pipeline.ingest.source)
        private.private_folder(run)
        with alone_in(run), RunLog(run / "log.jsonl") as log, live.noting(log):
            key = pseudonyms.project_key(run / pseudonyms.KEY_FILE)
            public = public_settings(shaping, key)
            refuse_other_key(dataset, key)
            table.write(run / "instances.parquet", instances)
            log.event("crawled", files=instances.files, images=instances.images)
            settings = json.dumps(shaping, indent=1, sort_keys=True)
            private.write_text(run / SETTINGS_FILE, settings)
            write_config(run, pipeline)
            of_turn = turn.begin(run)
            grouped = group_all(pipeline, key, workers, live, of_turn)
            yield Begun(pipeline, grouped, workers, live, log, key, public, of_turn)


@dataclass(frozen=True)
class Begun:
    """What planning starts from."""

    pipeline: Pipeline
    """With the lists of `ingest.select` read."""
    grouped: Grouped
    workers: Workers
    live: Live
    log: RunLog
    key: bytes
    public: dict[str, Any]
    """Settings as a dataset may tell them."""
    of_turn: str
    """Of this job (see `ingest.turn`)."""


@dataclass(frozen=True)
class Work:
    """Everything decided before the first pixel is read."""

    begun: Begun
    answered: answers.Answered
    """The studies with their sentences and labels."""
    places: assign.Assignment

    @property
    def grouped(self) -> Grouped:
        return self.answered.grouped

    @property
    def has_place(self) -> np.ndarray:
        """Of each study: whether it has a sample, or will have."""
        return np.isin(self.grouped.keys, self.places.places.keys)

    def as_json(self) -> dict[str, Any]:
        return {
            "studies": len(self.grouped.keys),
            "parts": self.grouped.parts,
            "parts_made": self.grouped.parts_made,
            "shards_missing": len(self.places.missing),
            "studies_changed": self.places.changed,
            "scrubbed": dict(self.grouped.scrubbed),
        }


def plan(begun: Begun, studies: answers.Answered, choose: Choose | None = None) -> Work:
    """Give all studies their shards, and write it down."""
    pipeline, grouped = begun.pipeline, studies.grouped
    book = Path(pipeline.run) / "plan.parquet"
    done = {shard: stats.content for shard, stats in committed(pipeline.dataset).items()}
    before = assign.read(book)
    keys, digests, again = grouped.keys, grouped.digests, np.array([], assign.TEXT)
    if choose is not None:
        choice = choose(grouped, before, done, begun.workers)
        again = keys[choice.is_again]
        keys, digests = keys[choice.is_wanted], digests[choice.is_wanted]
    per_shard, mark = pipeline.shards.studies_per_shard, fingerprint(begun.public)
    places = assign.assign(keys, digests, before, done, per_shard, mark, again)
    assign.write(book, places.places)
    return Work(begun, studies, places)


def _refuse_unwritable(run: Path) -> None:
    """Raise UserError where the run folder cannot be written or made."""
    there = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"run: {run} cannot be written: {there} is no folder that is ours to write")


def _with_source(pipeline: Pipeline) -> Ingest:
    settings = pipeline.ingest
    if not settings.source:
        raise UserError(
            f"pipeline {pipeline.name}: ingest.source is not set; "
            "give a folder, as in --set ingest.source=DIR"
        )
    return settings


def _crawl(pipeline: Pipeline, workers: Workers, progress: Progress) -> Iterator[list[Instance]]:
    run, settings = Path(pipeline.run), pipeline.ingest
    previous = run / "instances.parquet"
    how = settings_of(
        settings.source,
        previous,
        run / "unpacked",
        settings.volume_files,
        size_bytes(settings.max_unpacked),
        limits_of(settings.speed),
    )
    return crawl_in_chunks(
        settings.source, previous, workers.ordered, partial(progress, "crawl"), how
    )
