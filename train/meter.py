"""What a run measures, written where people and programs look.

In: the result of every step. Out: RUN/train/metrics.jsonl (a JSON line each time), TensorBoard
events beside it, and the figures for the progress line.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from train.step import StepResult


@dataclass(frozen=True)
class Metrics:
    """One line: the last step, and rates since the line before."""

    step: int
    epoch: float
    """Passes over the samples done, with the fraction of the current one."""
    loss: float
    """Mean since the line before."""
    scale: float
    learning_rate: float
    grad_norm: float
    """Largest since the line before, before clipping."""
    studies_per_s: float
    scans_per_s: float
    waiting_percent: float
    """Share of the time that the trainer waited for the loader."""
    seconds: float
    """Spent training, over all sessions."""


class Meter:
    """Adds up steps until `flush` writes a line. Lines beyond `step`, of a run that was cut off,
    are dropped first."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "metrics.jsonl"
        _drop_lines_after(file, step)
        self._stream = file.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._start_over(0.0)

    def add(self, result: StepResult, studies: int, scans: int) -> None:
        """Take in one step."""
        self._results.append(result)
        self._studies += studies
        self._scans += scans

    def flush(self, step: int, epoch: float, seconds: float, waited_s: float) -> Metrics:
        """Write a line over the steps since the last. `waited_s` is the loader's so far."""
        results, elapsed = self._results, max(time.monotonic() - self._began, 1e-9)
        last = results[-1]
        metrics = Metrics(
            step=step,
            epoch=round(epoch, 4),
            loss=sum(result.loss for result in results) / len(results),
            scale=last.scale,
            learning_rate=last.learning_rate,
            grad_norm=max(result.grad_norm for result in results),
            studies_per_s=round(self._studies / elapsed, 3),
            scans_per_s=round(self._scans / elapsed, 3),
            waiting_percent=round(100 * (waited_s - self._waited_s) / elapsed, 2),
            seconds=round(seconds, 3),
        )
        self._stream.write(json.dumps(asdict(metrics)) + "\n")
        self._stream.flush()
        for name, value in asdict(metrics).items():
            self._board.add_scalar(f"train/{name}", value, step)
        self._start_over(waited_s)
        return metrics

    def close(self) -> None:
        self._stream.close()
        self._board.close()

    def _start_over(self, waited_s: float) -> None:
        self._results: list[StepResult] = []
        self._studies = self._scans = 0
        self._waited_s, self._began = waited_s, time.monotonic()


def _drop_lines_after(file: Path, step: int) -> None:
    """Keep the lines up to `step`; a line that was cut off goes too."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # the last line of a killed run: nothing is lost, its step is trained again
    temporary = file.with_suffix(".writing")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, file)
