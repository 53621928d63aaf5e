"""A run that is ready to take steps: everything built, and put where the newest checkpoint left it.

In: a pipeline and its opened dataset. Out: a `Run`, which knows its place and can save itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from shards.reader import Dataset
from shards.tolerance import Tolerance
from study.config import Pipeline
from study.errors import UserError
from study.sections import Train
from train import checkpoint as checkpoints
from train.batch import Rules
from train.checkpoint import Place
from train.clip import CustomTextCLIP, create_model, encoder_config
from train.inflate import mae_weights, start_from_mae
from train.loader import Loader, open_dataset, trainable_samples
from train.optim import adamw
from train.resume import check_same_run, choose_device, grid_of, steps_of
from train.variant import Grid
from train.vit import HierarchicalViT

Say = Callable[[str], None]
"""Takes a line for the user."""


@dataclass
class Run:
    """What a training is made of, and where it stands."""

    folder: Path
    """Of the pipeline's run; training writes into its sub-folder train/."""
    settings: Train
    grid: Grid
    data: str
    """Fingerprint of the samples."""
    samples: int
    steps: int
    """Of the whole training."""
    model: CustomTextCLIP
    optimizer: torch.optim.Optimizer
    dataset: Dataset
    tolerance: Tolerance
    loader: Loader
    place: Place

    @classmethod
    def prepare(cls, pipeline: Pipeline, say: Say) -> Run:
        """Raises UserError for settings and data that do not fit together, or to the run so far."""
        settings, folder = pipeline.train, Path(pipeline.run)
        dataset = open_dataset(pipeline)
        tolerance = Tolerance(settings.max_corrupt, "train.max_corrupt", dataset.path)
        if settings.max_corrupt:
            tolerance.listen(lambda error: say(f"train: left out as corrupt: {error}"))
        grid = grid_of(dataset)
        device = choose_device(settings.device)
        threads = settings.speed.loader_threads
        samples, left_out = trainable_samples(
            dataset, settings.split, settings.variants, threads, tolerance
        )
        steps = steps_of(settings, len(samples))
        data = hashlib.sha256("\n".join(samples.refs.keys()).encode()).hexdigest()
        encoder = encoder_config(settings.model, grid)
        if encoder.num_prefix_tokens > 1:
            raise UserError(
                f"train.model.name {settings.model.name} has {encoder.num_prefix_tokens} study "
                "tokens for a dual loss, which cannot be trained here yet: take a model without "
                "`dual` in its name (see docs/models.md)"
            )
        torch.manual_seed(settings.seed)
        model, tokenizer = create_model(settings.model, grid)
        _set_up_encoder(model, settings, fresh=not checkpoints.checkpoints(folder))
        model.to(device).train()
        optimizer = adamw(model, settings.learning_rate, settings.weight_decay, settings.beta2)
        loader = Loader(
            dataset,
            samples,
            tokenizer,
            Rules.of(settings, encoder),
            batch_size=settings.batch_size,
            threads=threads,
            prefetch=settings.speed.prefetch,
            pin=device.type == "cuda",
            tolerance=tolerance,
        )
        without = f" ({left_out} without sentences are left out)" if left_out else ""
        say(f"train: {len(samples)} studies of split {settings.split}{without}, {steps} steps")
        run = cls(
            folder=folder,
            settings=settings,
            grid=grid,
            data=data,
            samples=len(samples),
            steps=steps,
            model=model,
            optimizer=optimizer,
            dataset=dataset,
            tolerance=tolerance,
            loader=loader,
            place=Place(),
        )
        if checkpoints.checkpoints(folder):
            run._go_on(say)
        return run

    def _go_on(self, say: Say) -> None:
        """Take over the state of the newest checkpoint."""
        device = next(self.model.parameters()).device
        saved = checkpoints.load(checkpoints.newest_checkpoint(self.folder), device)
        for change in check_same_run(saved, self.settings, self.grid, self.data):
            say(f"train: going on with {change}")
        self.model.load_state_dict(saved.model)
        self.optimizer.load_state_dict(saved.optimizer)
        self.place = saved.place
        if not self.complete:
            say(f"train: going on from step {self.place.step} ({saved.path})")

    @property
    def complete(self) -> bool:
        return self.place.step >= self.steps

    @property
    def epochs(self) -> float:
        """Passes over the samples done, with the fraction of the current one."""
        return self.place.epoch + self.place.consumed / self.samples

    def save(self) -> Path:
        """Write a checkpoint of this place, drop those that are too old."""
        return checkpoints.save(
            self.folder,
            self.model,
            self.optimizer,
            self.place,
            self.settings,
            self.grid,
            self.data,
            self.settings.keep_checkpoints,
        )


def _set_up_encoder(model: CustomTextCLIP, settings: Train, fresh: bool) -> None:
    """What settings ask of the image encoder beyond its shape; first weights in a fresh run."""
    encoder = model.visual.trunk
    assert isinstance(encoder, HierarchicalViT)
    if fresh and settings.model.mae is not None:
        try:
            start_from_mae(encoder, mae_weights(settings.model.mae))
        except ValueError as error:
            raise UserError(f"train.model.mae {settings.model.mae}: {error}") from None
    encoder.set_grad_checkpointing(settings.speed.activation_checkpointing)
    if settings.speed.compile:
        encoder.compile_blocks()
