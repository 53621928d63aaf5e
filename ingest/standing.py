"""How far a dataset is, when nobody is at work on it: shards planned, shards there.

In: a pipeline's folders. Out: `Standing`. The names of files tell it, so that it takes one listing
however large the dataset is: whether bytes are whole is for `shards verify`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingest import assign
from shards.catalog import is_finished
from shards.commit import stats_name
from shards.store import store_at
from study.config import Pipeline


@dataclass(frozen=True)
class Standing:
    """Of a dataset and its plan."""

    dataset: str
    shards_planned: int
    shards_written: int
    """Of those: with a commit record."""
    has_books: bool
    """Whether `dataset.json`, which is written last, is there."""

    @property
    def is_finished(self) -> bool:
        """Whether all that was planned is there."""
        return self.has_books and self.shards_written == self.shards_planned

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_finished": self.is_finished}


def standing(pipeline: Pipeline) -> Standing:
    """How far the dataset of a pipeline is; nothing is planned where nothing was ingested."""
    dataset = store_at(pipeline.dataset)
    planned = np.unique(assign.read(Path(pipeline.run) / "plan.parquet").shards).tolist()
    names = dataset.sizes()
    there = sum(stats_name(shard) in names for shard in planned)
    return Standing(dataset.url, len(planned), there, is_finished(dataset))
