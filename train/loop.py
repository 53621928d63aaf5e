"""The training of a pipeline, from its shards to its last checkpoint.

In: a Pipeline whose dataset is finished. Out: RUN/train with checkpoints, metrics and TensorBoard
events.
The one idea: a run is a function of its settings and its data. It goes on by itself from the newest
checkpoint, in mid-epoch, and comes to what it would have come to undisturbed; when it is complete,
it does nothing.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from shards.order import Cursor
from shards.reader import CorruptSample
from study.config import Pipeline
from study.errors import EXIT_RESUMABLE
from study.runlog import RunLog
from train.cadence import Cadence, Progress
from train.checkpoint import Place, newest_checkpoint
from train.loader import fetched
from train.meter import Meter
from train.progress import ProgressLine, StopSignal
from train.run import Run
from train.step import NotFinite, train_step


@dataclass(frozen=True)
class TrainResult:
    """What a call of `train` came to."""

    checkpoint: Path
    """The newest."""
    step: int
    """Optimizer steps done, over all sessions."""
    steps: int
    """Optimizer steps of the whole training."""
    seconds: float
    """Spent training, over all sessions."""
    loss: float
    """Of the last step."""
    studies_per_s: float
    """Of this call; 0 where nothing was left to do."""
    already_done: bool


def train(pipeline: Pipeline, *, console: Console, stop_after: int | None = None) -> TrainResult:
    """Train, or go on training, the model of a pipeline.

    `stop_after` ends this call, with a checkpoint, once so many steps are done in all. SIGTERM and
    Ctrl-C do too, and exit with EXIT_RESUMABLE. Raises UserError for settings and data that do not
    fit together or to the run so far.
    """
    say = partial(console.print, highlight=False, soft_wrap=True)
    run = Run.prepare(pipeline, say)
    if run.complete:
        return _result(run, newest_checkpoint(run.folder), 0.0, already_done=True)
    now, speed = Progress(run.place.step, run.epochs, run.place.seconds), run.settings.speed
    saving = Cadence(run.settings.checkpoint_every, "train.checkpoint_every", now)
    logging = Cadence(speed.log_every, "train.speed.log_every", now)
    last = min(run.steps, stop_after or run.steps)
    run.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with RunLog(run.folder / "log.jsonl") as log, StopSignal() as stop:
        log.event("train.start", step=run.place.step, steps=run.steps, data=run.data)
        run.tolerance.listen(partial(_log_corrupt, log, run))
        try:
            result = _take_steps(run, last, saving, logging, stop, console)
        except NotFinite as error:
            log.event("train.not_finite", step=run.place.step, keys=error.keys)
            raise
        far, corrupt = fetched(run.dataset), len(run.tolerance.found)
        facts = {"fetched": asdict(far) if far else None, "corrupt": corrupt}
        log.event("train.stop", signal=stop.name, **facts, **asdict(result))
    if far:
        say(
            f"train: {far.fetched_bytes / 1e9:.3f} GB fetched from {run.dataset.path}, "
            f"{far.hit_bytes / 1e9:.3f} GB read from the cache"
        )
    if corrupt:
        say(f"train: {corrupt} corrupt studies were left out; see `dicom2clip shards verify`")
    if stop.name:
        say(f"train: stopped by {stop.name} at step {result.step}; the same command goes on")
        raise SystemExit(EXIT_RESUMABLE)
    return result


def _log_corrupt(log: RunLog, run: Run, error: CorruptSample) -> None:
    where = {"shard": error.shard, "key": error.key, "member": error.member, "offset": error.offset}
    log.event("train.corrupt", step=run.place.step, problem=str(error), **where)


def _take_steps(
    run: Run, last: int, saving: Cadence, logging: Cadence, stop: StopSignal, console: Console
) -> TrainResult:
    """Steps until `last` are done or a signal comes; a checkpoint at the end of either."""
    settings, studies = run.settings, 0
    began, before_s = time.monotonic(), run.place.seconds
    meter = Meter(run.folder / "train", run.place.step)
    batches = run.loader.batches(Cursor(run.place.epoch, run.place.consumed))
    saved: Path | None = None
    try:
        with ProgressLine(console, run.place.step, run.steps) as line:
            while run.place.step < last and not stop.name:
                batch, step = next(batches), run.place.step
                result = train_step(run.model, run.optimizer, batch, step, run.steps, settings)
                seconds, after = before_s + time.monotonic() - began, batch.after
                run.place = Place(step + 1, after.epoch, after.consumed, seconds, result.loss)
                now = Progress(run.place.step, run.epochs, seconds)
                studies += len(batch.keys)
                meter.add(result, len(batch.keys), batch.num_scans)
                line.advance(run.place.step)
                if logging.due(now) or run.place.step == last or stop.name:
                    line.show(meter.flush(step + 1, run.epochs, now.seconds, run.loader.waited_s))
                saved = run.save() if saving.due(now) else None
    finally:
        batches.close()
        meter.close()
    elapsed = time.monotonic() - began
    run.place = replace(run.place, seconds=before_s + elapsed)
    return _result(run, saved or run.save(), studies / elapsed, already_done=False)


def _result(run: Run, newest: Path, studies_per_s: float, already_done: bool) -> TrainResult:
    place = run.place
    return TrainResult(
        checkpoint=newest,
        step=place.step,
        steps=run.steps,
        seconds=place.seconds,
        loss=place.loss,
        studies_per_s=studies_per_s,
        already_done=already_done,
    )
