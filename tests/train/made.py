"""Small datasets for the tests of training, written through `shards.writer`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shards.writer import ShardWriter, finish_dataset
from study.config import Pipeline
from study.records import Report, Scan, Study
from study.sections import Model, Train, TrainSpeed

GRID = (8, 32, 32)
AFFINE = ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
FINDINGS = ("left mass", "right mass", "no haemorrhage", "old infarct")
MODEL = Model(
    patch=(4, 16, 16),
    dim=32,
    depth=3,
    heads=2,
    scan_blocks=(0, 1),
    study_blocks=(2,),
    text_width=32,
    text_layers=1,
    text_heads=2,
    context_length=32,
    joint_dim=16,
)


def scan(rng: np.random.Generator, finding: int, grid: tuple[int, int, int] = GRID) -> Scan:
    """Noise with a bright slab whose place tells the finding."""
    array = rng.integers(0, 120, grid, dtype=np.uint8)
    step = grid[2] // len(FINDINGS)
    array[:, :, finding * step : (finding + 1) * step] += 120
    return Scan(
        array=array,
        modality="MR",
        plane="axial",
        window="percentile",
        window_limits=(0.0, 1.0),
        spacing_mm=(1.0, 1.0, 1.0),
        affine=AFFINE,
        source_shape=grid,
        source_spacing_mm=(1.0, 1.0, 1.0),
        source_affine=AFFINE,
    )


def study(number: int, *, sentences: bool = True, grid: tuple[int, int, int] = GRID) -> Study:
    """Study `number`, with one to four scans; always the same."""
    rng, finding = np.random.default_rng(number), number % len(FINDINGS)
    texts = (
        {"offline": (f"There is {FINDINGS[finding]}.", "Nothing else is seen.")}
        if sentences
        else {}
    )
    return Study(
        key=f"study{number:04d}",
        patient=f"patient{number:04d}",
        split="train",
        scans=tuple(scan(rng, finding, grid) for _ in range(1 + number % 4)),
        report=Report(sentences=texts),
    )


def dataset(folder: Path, studies: list[Study], per_shard: int = 8) -> Path:
    """Write a finished dataset."""
    for shard, first in enumerate(range(0, len(studies), per_shard)):
        with ShardWriter(folder, shard, "none") as writer:
            for one in studies[first : first + per_shard]:
                writer.add(one)
    finish_dataset(folder, fingerprint="0a", provenance={}, settings={})
    return folder


def pipeline(folder: Path, run: str = "run", **train: object) -> Pipeline:
    """A pipeline on `folder`/dataset that trains six steps of eight studies; `train` changes its
    settings."""
    defaults: dict[str, object] = {
        "model": MODEL,
        "batch_size": 8,
        "scans_per_study": 3,
        "steps": 6,
        "warmup_steps": 2,
        "device": "cpu",
        "patch_dropout": 0.25,
        "speed": TrainSpeed(log_every="1 step"),
    }
    settings = Train.model_validate(defaults | train)
    return Pipeline(
        name="made", dataset=str(folder / "dataset"), run=str(folder / run), train=settings
    )
