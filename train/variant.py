"""One variant of the image encoder, as values: sizes, levels, pooling.

In: what a preset, a pipeline or a published checkpoint says. Out: a checked `EncoderConfig`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Grid = tuple[int, int, int]
Level = Literal["slice", "scan", "study"]
MIN_ROTARY_CHANNELS = 6
"""Of a head: a pair along each of D, H and W."""


@dataclass(frozen=True)
class EncoderConfig:
    """One variant of the encoder."""

    img_size: Grid
    """(D, H, W) of a scan for which the position table is made; others are interpolated."""
    patch_size: Grid
    embed_dim: int
    depth: int
    num_heads: int
    slice_blocks: tuple[int, ...] = ()
    """Indices of the blocks that attend within slices (each patch-depth of slices is one)."""
    scan_blocks: tuple[int, ...] = ()
    study_blocks: tuple[int, ...] = ()
    mlp_ratio: float = 4.0
    reg_tokens: int = 0
    """Prefix tokens beside CLS: 1 in models of the dual loss."""
    pooling: Literal["token", "dinotxt"] = "token"
    """token: the prefix tokens; dinotxt: each of them joined with the mean of all patch tokens."""
    max_num_scans: int = 0
    """Rows of the table of scan positions; 0: scans have no position."""
    rope: bool = False
    """Whether queries and keys are turned by the place of their patch in its scan (train.rotary),
    beside the table of positions in space."""
    drop_path_rate: float = 0.0
    """Of the last block; grows linearly from 0 at the first."""
    keep_token_axis: bool = False
    """Whether a single pooled token still comes out as [B, 1, C], as HLIP's first code has it."""

    def __post_init__(self) -> None:
        levels = sorted((*self.slice_blocks, *self.scan_blocks, *self.study_blocks))
        if levels != list(range(self.depth)):
            raise ValueError(
                f"every block from 0 to {self.depth - 1} must attend at exactly one level; found "
                f"slice_blocks {list(self.slice_blocks)}, scan_blocks {list(self.scan_blocks)}, "
                f"study_blocks {list(self.study_blocks)}"
            )
        if self.embed_dim % self.num_heads or self.embed_dim % 4:
            raise ValueError(
                f"embed_dim {self.embed_dim} must be divisible by 4 (positions) and by "
                f"num_heads {self.num_heads}"
            )
        if self.rope and (self.head_dim % 2 or self.head_dim < MIN_ROTARY_CHANNELS):
            raise ValueError(
                f"rope turns pairs of channels, one for each of D, H and W at least: the head's "
                f"{self.head_dim} channels (embed_dim {self.embed_dim} / num_heads "
                f"{self.num_heads}) must be even and at least {MIN_ROTARY_CHANNELS}"
            )
        if self.reg_tokens < 0 or self.max_num_scans < 0:
            raise ValueError(
                f"reg_tokens {self.reg_tokens} and max_num_scans {self.max_num_scans} must be 0 or "
                "more"
            )
        if not 0 <= self.drop_path_rate < 1:
            raise ValueError(f"drop_path_rate {self.drop_path_rate} must be at least 0 and below 1")
        patches_of(self.img_size, self.patch_size)

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    def level(self, block: int) -> Level:
        if block in self.study_blocks:
            return "study"
        return "scan" if block in self.scan_blocks else "slice"

    @property
    def levels(self) -> tuple[Level, ...]:
        """Those that some block attends at."""
        return tuple(dict.fromkeys(self.level(block) for block in range(self.depth)))

    @property
    def finest(self) -> Level:
        """Patch dropout keeps equally many patches in each of these, so that every block's rows
        stay whole."""
        return "slice" if self.slice_blocks else "scan"

    @property
    def num_prefix_tokens(self) -> int:
        return 1 + self.reg_tokens

    @property
    def num_features(self) -> int:
        return self.embed_dim * (2 if self.pooling == "dinotxt" else 1)

    @property
    def tokens_per_scan(self) -> int:
        depth, height, width = patches_of(self.img_size, self.patch_size)
        return depth * height * width


def patches_of(size: Sequence[int], patch: Grid) -> Grid:
    """Patches along D, H, W of a scan; ValueError where a tail would be cut off."""
    if len(size) != 3 or any(s <= 0 or s % p for s, p in zip(size, patch, strict=True)):
        nearest = tuple(max(1, s // p) * p for s, p in zip(size, patch, strict=False))
        raise ValueError(
            f"scans of (D, H, W) = {tuple(size)} cannot be cut into patches of {tuple(patch)}: "
            f"not divisible, a tail would be lost. Store them as {nearest}, or choose a patch that "
            "divides them"
        )
    return (size[0] // patch[0], size[1] // patch[1], size[2] // patch[2])
