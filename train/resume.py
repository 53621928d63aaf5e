"""Whether a run can be started, and whether it can go on from a checkpoint.

In: settings, dataset, checkpoint. Out: what is derived from them, or a UserError that says what to
do.
"""

from __future__ import annotations

from typing import Any

import torch

from shards.reader import Dataset
from study.errors import UserError
from study.sections import Train
from train.checkpoint import Checkpoint
from train.variant import Grid

MUST_AGREE = ("model", "seed", "split", "variant")
"""Settings without which a checkpoint's weights or its place among the samples mean something else.
"""
MAY_DIFFER = ("speed", "device", "checkpoint_every", "keep_checkpoints", "max_corrupt")
"""Settings that do not change the result."""


def grid_of(dataset: Dataset) -> Grid:
    """(D, H, W) of all scans. UserError where they differ, or are not bytes."""
    dtypes = dataset.samples().dtypes() - {"uint8"}
    if dtypes:
        raise UserError(
            f"{dataset.path}: its scans are {', '.join(sorted(dtypes))}; training reads uint8: "
            "ingest with grid.dtype: uint8"
        )
    if dataset.info.shape is None:
        raise UserError(
            f"{dataset.path}: its scans have different shapes; one model takes one shape"
        )
    return dataset.info.shape


def steps_of(settings: Train, samples: int) -> int:
    """Optimizer steps of the whole training. UserError where the samples do not fill one batch."""
    if settings.batch_size > samples:
        raise UserError(
            f"train.batch_size {settings.batch_size} is more than the {samples} studies that can "
            f"be trained on: set it to {samples} or less"
        )
    if settings.batch_size < 2:
        raise UserError(
            "train.batch_size 1 gives nothing to contrast a study with: set it to 2 or more"
        )
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None, "study.sections checks that one is given"
    return -(-settings.epochs * samples // settings.batch_size)


def choose_device(wanted: str) -> torch.device:
    """auto, cpu or cuda -> a device that is there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "train.device is cuda, but torch finds no CUDA device: set it to auto or cpu"
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def check_same_run(saved: Checkpoint, settings: Train, grid: Grid, data: str) -> list[str]:
    """What changed since the checkpoint and takes effect from here on. UserError for what cannot
    change."""
    old, new = saved.settings, settings.model_dump(mode="json")
    problems = [
        _difference(key, old.get(key), new[key]) for key in MUST_AGREE if old.get(key) != new[key]
    ]
    if saved.grid != grid:
        problems.append(f"scans are {grid} now, they were {saved.grid}")
    elif saved.data != data:
        problems.append("the dataset holds other studies now")
    if problems:
        raise UserError(
            f"{saved.path.parent} belongs to another training: {'; '.join(problems)}. Undo this, "
            "or train into another folder (`run` of the pipeline), or remove that one to start over"
        )
    others = [key for key in new if key not in (*MUST_AGREE, *MAY_DIFFER)]
    return [_difference(key, old.get(key), new[key]) for key in others if old.get(key) != new[key]]


def _difference(key: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        changed = [k for k in new if old.get(k) != new[k]]
        return ", ".join(_difference(f"{key}.{k}", old.get(k), new[k]) for k in changed)
    return f"train.{key} {new!r} (it was {old!r})"
