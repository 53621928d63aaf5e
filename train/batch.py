"""What a study contributes to a step: which scans, which text, which patches.

In: a sample of the dataset with its sentences, and the epoch. Out: choices, then batches for the
two towers.
The one idea: every choice is a pure function of (seed, epoch, key of the study), so that neither
threads nor processes nor an interruption change what is trained on.

Shapes: S scans, K kept patches, B studies, T texts of a study, L tokens of the longest text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shards.index import SampleRef
from shards.order import Cursor, generator
from study.errors import UserError
from study.sections import Train
from train.text import compose
from train.variant import EncoderConfig
from train.vit import Studies


@dataclass(frozen=True)
class Sample:
    """A study that can be trained on: where its scans are, and its sentences by variant (at least
    one of one)."""

    ref: SampleRef
    sentences: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Rules:
    """How choices are drawn."""

    seed: int
    max_scans: int
    """Scans of a study in a step at most."""
    whole_report: bool
    """All sentences in one text, rather than single ones."""
    num_sentences: int
    """Single sentences of a study in a step."""
    variant_weights: tuple[float, ...]
    """Of the variants of sentences, one of which a study has in a step."""
    prefix: str
    patch_rows_per_scan: int
    """Parts of a scan that each keep equally many patches: 1, or its slices in models with slice
    blocks."""
    patches_per_row: int
    kept_per_row: int
    scan_positions: int
    """Rows of the table that scan positions are drawn from; 0: scans have no position."""

    @classmethod
    def of(cls, settings: Train, encoder: EncoderConfig) -> Rules:
        slices = encoder.img_size[0] // encoder.patch_size[0] if encoder.finest == "slice" else 1
        patches = encoder.tokens_per_scan // slices
        if 1 < encoder.max_num_scans < settings.scans_per_study:
            raise UserError(
                f"train.scans_per_study: {settings.scans_per_study} scans cannot have different "
                f"positions of the {encoder.max_num_scans} that train.model.max_num_scans gives: "
                f"take at most {encoder.max_num_scans}, raise max_num_scans, or set it to 0 (scans "
                "without position)"
            )
        return cls(
            seed=settings.seed,
            max_scans=settings.scans_per_study,
            whole_report=settings.text == "report",
            num_sentences=settings.sentences_per_study,
            variant_weights=tuple(settings.variants.values()),
            prefix=settings.prefix,
            patch_rows_per_scan=slices,
            patches_per_row=patches,
            kept_per_row=max(1, int(patches * (1 - settings.patch_dropout))),
            scan_positions=encoder.max_num_scans if encoder.max_num_scans > 1 else 0,
        )

    def num_scans(self, sample: Sample) -> int:
        return min(self.max_scans, len(sample.ref.scans))


@dataclass(frozen=True)
class Choice:
    """What one study contributes to a step."""

    scans: tuple[int, ...]
    """Numbers of its scans, ascending."""
    texts: tuple[str, ...]
    keep: np.ndarray | None
    """[scans * rows per scan, K] kept patches, ascending; None keeps all."""
    scan_positions: np.ndarray | None
    """[scans] rows of the table of scan positions."""


def choose(sample: Sample, epoch: int, rules: Rules) -> Choice:
    """The choices for a study in an epoch: always the same."""
    key, num_scans = sample.ref.key, rules.num_scans(sample)

    def random(purpose: str) -> np.random.Generator:
        return generator(rules.seed, epoch, key, purpose)

    scans = np.sort(random("scans").permutation(len(sample.ref.scans))[:num_scans])
    keep = positions = None
    if rules.kept_per_row < rules.patches_per_row:
        shuffled = (
            random("patches")
            .random((num_scans * rules.patch_rows_per_scan, rules.patches_per_row))
            .argsort(1)
        )
        keep = np.sort(shuffled[:, : rules.kept_per_row], axis=1)
    if rules.scan_positions:
        positions = random("scan positions").permutation(rules.scan_positions)[:num_scans]
    sentences = _of_one_variant(sample.sentences, rules.variant_weights, random("variant"))
    texts = compose(
        sentences, rules.prefix, rules.whole_report, rules.num_sentences, random("sentence")
    )
    return Choice(tuple(scans.tolist()), texts, keep, positions)


def _of_one_variant(
    sentences: Sequence[tuple[str, ...]], weights: Sequence[float], rng: np.random.Generator
) -> tuple[str, ...]:
    """The sentences of one variant, drawn by weights among those that there are."""
    there = np.array([w if s else 0.0 for s, w in zip(sentences, weights, strict=True)])
    bounds = np.cumsum(there)
    return sentences[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]


@dataclass(frozen=True)
class Batch:
    """One step's input. Its pixels lie in a buffer of the loader: valid until the next batch is
    asked for."""

    keys: tuple[str, ...]
    """Of the studies, in their order: by number of scans, so that equal ones are encoded together.
    """
    studies: Studies
    tokens_BTL: Tensor
    after: Cursor
    """Where the stream of samples stands once this batch is trained on."""

    @property
    def num_scans(self) -> int:
        return sum(self.studies.scans_per_study)


def collate(
    samples: Sequence[Sample],
    choices: Sequence[Choice],
    pixels: Tensor,
    tokens_BTL: Tensor,
    after: Cursor,
) -> Batch:
    """Put the choices for one step together; `pixels` [S, 1, D, H, W] holds their scans in this
    order."""
    studies = Studies(
        pixels=pixels,
        scans_per_study=tuple(len(choice.scans) for choice in choices),
        keep=_stacked([choice.keep for choice in choices]),
        scan_positions=_stacked([choice.scan_positions for choice in choices]),
    )
    return Batch(tuple(sample.ref.key for sample in samples), studies, tokens_BTL, after)


def _stacked(arrays: Sequence[np.ndarray | None]) -> Tensor | None:
    given = [array for array in arrays if array is not None]
    return torch.from_numpy(np.concatenate(given)) if given else None
