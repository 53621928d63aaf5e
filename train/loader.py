"""Shards -> batches: threads read the chosen scans straight into reused buffers.

In: an opened dataset, its trainable samples, the rules of choice. Out: batches without end, from
any place on.
The one idea: pixels go from the page cache into the batch, once, as uint8; there are no worker
processes and there is no float work. A few buffers go round: while one is trained on, threads fill
the others. Time spent waiting for them is counted, so that a starved trainer is seen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shards.order import Cursor, Draw, stream
from shards.reader import Dataset
from study.errors import UserError
from train.batch import Batch, Choice, Rules, Sample, choose, collate
from train.clip import Tokenizer
from train.text import trim


def trainable_samples(
    dataset: Dataset, split: str, variant: str, threads: int
) -> tuple[list[Sample], int]:
    """Samples of a split that have scans and sentences of a variant, and how many have not.

    UserError where none has, naming the variants that are there.
    """
    refs = dataset.samples(split)
    with ThreadPoolExecutor(threads) as pool:
        reports = list(pool.map(lambda ref: dataset.metadata(ref)["report"]["sentences"], refs))
    samples = [
        Sample(ref, tuple(report[variant]))
        for ref, report in zip(refs, reports, strict=True)
        if report.get(variant) and ref.scans
    ]
    if not samples:
        found = ", ".join(sorted({name for report in reports for name in report})) or "none"
        raise UserError(
            f"{dataset.path}: none of the {len(refs)} studies in split {split!r} has sentences of "
            f"variant {variant!r} (train.variant; there are: {found}); nothing to train on"
        )
    return samples, len(refs) - len(samples)


class Loader:
    """Reads batches ahead. `waited_s` is the time that its consumer spent waiting, in seconds."""

    def __init__(
        self,
        dataset: Dataset,
        samples: Sequence[Sample],
        tokenizer: Tokenizer,
        rules: Rules,
        *,
        batch_size: int,
        threads: int,
        prefetch: int,
        pin: bool = False,
    ) -> None:
        self.waited_s = 0.0
        self._dataset, self._samples, self._tokenizer, self._rules = (
            dataset,
            samples,
            tokenizer,
            rules,
        )
        self._batch_size, self._threads = batch_size, threads
        grid = dataset.info.shape
        assert grid is not None, "a dataset of several shapes is refused before"
        shape = (batch_size * max(rules.num_scans(sample) for sample in samples), 1, *grid)
        self._buffers = [
            torch.empty(shape, dtype=torch.uint8, pin_memory=pin) for _ in range(prefetch + 1)
        ]

    def batches(self, start: Cursor) -> Generator[Batch, None, None]:
        """Batches from `start` on, without end. A batch's pixels are overwritten after the next one
        is asked for."""
        shards = [sample.ref.shard for sample in self._samples]
        draws = stream(shards, seed=self._rules.seed, batch=self._batch_size, start=start)
        free, ahead = deque(self._buffers), deque[_Pending]()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="loader") as pool:
            try:
                while True:
                    while free:
                        ahead.append(self._begin(next(draws), free.popleft(), pool))
                    pending = ahead.popleft()
                    began = time.monotonic()
                    batch = pending.finish()
                    self.waited_s += time.monotonic() - began
                    yield batch
                    free.append(pending.buffer)
            finally:
                pool.shutdown(cancel_futures=True)

    def _begin(self, draw: Draw, buffer: Tensor, pool: ThreadPoolExecutor) -> _Pending:
        """Hand out a row of the buffer to every scan, studies with few scans first, and start
        reading."""
        drawn = [(self._samples[i], int(e)) for i, e in zip(draw.samples, draw.epochs, strict=True)]
        drawn.sort(key=lambda pair: self._rules.num_scans(pair[0]))
        array, row, jobs = buffer.numpy()[:, 0], 0, []
        for sample, epoch in drawn:
            rows = self._rules.num_scans(sample)
            jobs.append(pool.submit(self._read, sample, epoch, array[row : row + rows]))
            row += rows
        return _Pending([sample for sample, _ in drawn], jobs, buffer, row, draw.after)

    def _read(self, sample: Sample, epoch: int, out: np.ndarray) -> tuple[Choice, Tensor]:
        choice = choose(sample, epoch, self._rules)
        for row, scan in enumerate(choice.scans):
            self._dataset.read_scan(sample.ref, scan, out=out[row])
        return choice, self._tokenizer(list(choice.texts))


@dataclass(frozen=True)
class _Pending:
    """A batch being read."""

    samples: list[Sample]
    jobs: list[Future[tuple[Choice, Tensor]]]
    buffer: Tensor
    rows: int
    after: Cursor

    def finish(self) -> Batch:
        choices, tokens = zip(*[job.result() for job in self.jobs], strict=True)
        return collate(
            self.samples, choices, self.buffer[: self.rows], trim(torch.stack(tokens)), self.after
        )
