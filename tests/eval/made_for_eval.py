"""A dataset and a model in memory, for tests of the code between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shards.index import Address, SampleRef
from train.vit import Studies

GRID = (2, 4, 4)


def ref(key: str, patient: str, split: str, scans: int, shape: tuple[int, ...] = GRID) -> SampleRef:
    """An address that nobody reads from; checksums differ from scan to scan."""
    size = int(np.prod(shape))
    metadata = Address(f"{key}.json", 512, 2, 0, (), "", "json", 0)
    addresses = [
        Address(f"{key}.s{i:02d}.npy", 2048 * i, 128 + size, 128, shape, "uint8", "npy", 1000 + i)
        for i in range(scans)
    ]
    return SampleRef(key, patient, split, 0, metadata, tuple(addresses))


@dataclass
class MadeDataset:
    """Study i has scans whose voxels are all 10 * i + j, and the label `bright` where i is
    large."""

    counts: Sequence[int]
    split: str = "test"
    reads: list[tuple[str, int]] = field(default_factory=list)

    def samples(self, split: str) -> Iterator[SampleRef]:
        for i, count in enumerate(self.counts):
            if split == self.split:
                yield ref(f"{i:032x}", f"patient{i // 2}", split, count)

    def metadata(self, ref: SampleRef) -> dict[str, Any]:
        bright = int(ref.key, 16) >= len(self.counts) // 2
        return {"labels": {"bright": float(bright), "dark": float(not bright)}}

    def read_scan(self, ref: SampleRef, scan: int, out: np.ndarray) -> None:
        self.reads.append((ref.key, scan))
        out[:] = 10 * int(ref.key, 16) + scan


class MadeModel(nn.Module):
    """The image of a study is the angle of its mean voxel; "bright" lies at one end and "dark" at
    the other."""

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.batches: list[tuple[int, ...]] = []
        self.texts: list[str] = []

    def encode_image(self, image: Studies, normalize: bool = False) -> Tensor:
        assert normalize
        assert not self.training
        assert image.pixels.dtype == torch.uint8
        self.batches.append(image.scans_per_study)
        means = image.pixels.float().mean(dim=(1, 2, 3, 4)).split(list(image.scans_per_study))
        angle = torch.stack([scans.mean() for scans in means]) / 255 * torch.pi / 2
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    def text(self, tokens: Tensor) -> Tensor:
        bright = tokens[:, 0].float() - 1
        return torch.stack([1 - bright, bright], dim=1)

    def tokenizer(self, texts: Sequence[str]) -> Tensor:
        self.texts += texts
        return torch.tensor([[1 + ("bright" in text), 0] for text in texts])


def loaded(model: MadeModel) -> Any:
    """What `train.checkpoint.load_model` gives, as far as eval uses it."""
    settings = SimpleNamespace(prefix="This study shows: ", model=SimpleNamespace(name="made"))
    return SimpleNamespace(
        model=model, tokenizer=model.tokenizer, settings=settings, grid=GRID, step=7
    )
