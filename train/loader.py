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
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
import torch
from torch import Tensor

from shards.ahead import ahead
from shards.cache import CacheCounts, CachedSource
from shards.index import SampleRef, Samples
from shards.order import Cursor, Draw, stream
from shards.reader import CorruptSample, Dataset
from shards.store import LocalStore, store_at
from shards.tolerance import Tolerance
from study.config import Pipeline
from study.errors import UserError
from study.quantities import size_bytes
from train.batch import Batch, Choice, Rules, Sample, choose, collate
from train.clip import Tokenizer
from train.text import padding_of, trim

REMOTE_THREADS = 32
"""For the metadata of a remote dataset: small requests that wait."""
WINDOW = 256
"""Metadata read ahead."""


def open_dataset(pipeline: Pipeline) -> Dataset:
    """The dataset of a pipeline; what is read of a remote one is kept near by."""
    store, speed = store_at(pipeline.dataset), pipeline.train.speed
    if isinstance(store, LocalStore):
        return Dataset.open(store)
    folder = Path(speed.cache or Path(pipeline.run) / "cache")
    return Dataset.open(store, CachedSource(store, folder, size_bytes(speed.cache_size)))


def fetched(dataset: Dataset) -> CacheCounts | None:
    """What was fetched from afar so far; None for a local dataset."""
    return dataset.source.counts if isinstance(dataset.source, CachedSource) else None


class TrainSamples(Sequence[Sample]):
    """Samples that can be trained on; each is made of the index's columns when it is asked for."""

    def __init__(self, refs: Samples, sentences: list[tuple[tuple[str, ...], ...]]) -> None:
        self.refs = refs
        self._sentences = sentences

    def __len__(self) -> int:
        return len(self.refs)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> TrainSamples: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Sample | TrainSamples:
        if isinstance(place, slice):
            return TrainSamples(self.refs[place], self._sentences[place])
        return Sample(self.refs[place], self._sentences[place])


def trainable_samples(
    dataset: Dataset,
    split: str,
    variants: Collection[str],
    threads: int,
    tolerance: Tolerance | None = None,
) -> tuple[TrainSamples, int]:
    """Samples of a split that have scans and sentences of a variant or of one of several, and how
    many have not.

    UserError where none has, naming the variants that are there, or where more are corrupt than
    `tolerance` (by default none) allows.
    """
    refs, tolerance = dataset.samples(split), tolerance or _none_corrupt(dataset)

    def sentences(ref: SampleRef) -> dict[str, list[str]] | CorruptSample:
        try:
            found: dict[str, list[str]] = dataset.metadata(ref)["report"]["sentences"]
        except CorruptSample as error:
            return error
        return found

    places: list[int] = []
    texts: list[tuple[tuple[str, ...], ...]] = []
    names: set[str] = set()
    corrupt, num_scans = 0, refs.num_scans()
    remote = fetched(dataset) is not None
    reports = ahead(sentences, refs, threads=REMOTE_THREADS if remote else threads, window=WINDOW)
    for place, report in enumerate(reports):
        if isinstance(report, CorruptSample):
            tolerance.admit(report)
            corrupt += 1
            continue
        names |= report.keys()
        found = tuple(tuple(report.get(variant, ())) for variant in variants)
        if any(found) and num_scans[place]:
            places.append(place)
            texts.append(found)
    missing = [variant for variant in variants if variant not in names]
    if not places or missing:
        wanted = ", ".join(map(repr, missing or variants))
        raise UserError(
            f"{dataset.path}: none of the {len(refs)} studies in split {split!r} has sentences of "
            f"variant {wanted} (train.variant; there are: {', '.join(sorted(names)) or 'none'})"
            "; nothing to train on"
        )
    samples = TrainSamples(refs.chosen(np.array(places, np.int64)), texts)
    return samples, len(refs) - corrupt - len(samples)


def _none_corrupt(dataset: Dataset) -> Tolerance:
    return Tolerance(0, "train.max_corrupt", dataset.path)


class Loader:
    """Reads batches ahead. `waited_s` is the time that its consumer spent waiting, in seconds."""

    def __init__(
        self,
        dataset: Dataset,
        samples: TrainSamples,
        tokenizer: Tokenizer,
        rules: Rules,
        *,
        batch_size: int,
        threads: int,
        prefetch: int,
        pin: bool = False,
        tolerance: Tolerance | None = None,
    ) -> None:
        self.waited_s = 0.0
        self._dataset, self._samples, self._tokenizer, self._rules = (
            dataset,
            samples,
            tokenizer,
            rules,
        )
        self._padding = padding_of(tokenizer)
        self._batch_size, self._threads = batch_size, threads
        self._tolerance = tolerance or _none_corrupt(dataset)
        grid = dataset.info.shape
        assert grid is not None, "a dataset of several shapes is refused before"
        most = min(rules.max_scans, int(samples.refs.num_scans().max()))
        shape = (batch_size * most, 1, *grid)
        self._buffers = [
            torch.empty(shape, dtype=torch.uint8, pin_memory=pin) for _ in range(prefetch + 1)
        ]

    def batches(self, start: Cursor) -> Generator[Batch, None, None]:
        """Batches from `start` on, without end. A batch's pixels are overwritten after the next one
        is asked for.

        Corrupt samples are left out as far as `tolerance` allows, and make their batch smaller.
        """
        shards = self._samples.refs.shards()
        draws = stream(shards, seed=self._rules.seed, batch=self._batch_size, start=start)
        free, ahead = deque(self._buffers), deque[_Pending]()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="loader") as pool:
            try:
                while True:
                    while free:
                        ahead.append(self._begin(next(draws), free.popleft(), pool))
                    pending = ahead.popleft()
                    began = time.monotonic()
                    batch = pending.finish(self._tolerance, self._padding)
                    self.waited_s += time.monotonic() - began
                    if batch is not None:
                        yield batch
                    free.append(pending.buffer)
            finally:
                pool.shutdown(cancel_futures=True)

    def _begin(self, draw: Draw, buffer: Tensor, pool: ThreadPoolExecutor) -> _Pending:
        """Hand out a row of the buffer to every scan, studies with few scans first, and start
        reading."""
        drawn = [(self._samples[i], int(e)) for i, e in zip(draw.samples, draw.epochs, strict=True)]
        drawn.sort(key=lambda pair: self._rules.num_scans(pair[0]))
        array, row, parts = buffer.numpy()[:, 0], 0, []
        for sample, epoch in drawn:
            rows = self._rules.num_scans(sample)
            job = pool.submit(self._read, sample, epoch, array[row : row + rows])
            parts.append(_Part(sample, row, rows, job))
            row += rows
        return _Pending(parts, buffer, draw.after)

    def _read(self, sample: Sample, epoch: int, out: np.ndarray) -> tuple[Choice, Tensor]:
        choice = choose(sample, epoch, self._rules)
        for row, scan in enumerate(choice.scans):
            self._dataset.read_scan(sample.ref, scan, out=out[row])
        return choice, self._tokenizer(list(choice.texts))


@dataclass(frozen=True)
class _Part:
    """A study of a batch being read."""

    sample: Sample
    first_row: int
    """Of its scans in the buffer."""
    rows: int
    job: Future[tuple[Choice, Tensor]]


@dataclass(frozen=True)
class _Pending:
    """A batch being read."""

    parts: list[_Part]
    buffer: Tensor
    after: Cursor

    def finish(self, tolerance: Tolerance, padding: int) -> Batch | None:
        """Wait for all scans; close up over those of corrupt samples. None where no sample is
        left."""
        array, row, samples, read = self.buffer.numpy(), 0, [], []
        for part in self.parts:
            try:
                read.append(part.job.result())
            except CorruptSample as error:
                tolerance.admit(error)
                continue
            samples.append(part.sample)
            if row < part.first_row:  # all rows before are read: nobody writes there any more
                array[row : row + part.rows] = array[part.first_row : part.first_row + part.rows]
            row += part.rows
        if not samples:
            return None
        choices, tokens = zip(*read, strict=True)
        return collate(
            samples, choices, self.buffer[:row], trim(torch.stack(tokens), padding), self.after
        )
