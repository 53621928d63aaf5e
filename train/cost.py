"""What an image encoder costs: parameters, tokens, arithmetic, memory, before it is built.

In: an EncoderConfig, how many scans a study has, which share of patches is kept. Out: numbers, as
functions of sizes alone. A multiplication and an addition are two operations (FLOP); only those of
matrix products count, as is usual: norms, sums and softmax are below a hundredth.
"""

from __future__ import annotations

from dataclasses import dataclass

from train.variant import EncoderConfig, Level, patches_of

STATE_BYTES = 16
"""Of a parameter in training: fp32 weight, gradient and AdamW's two moments."""
BF16_BYTES = 2
SAVED_OF_BLOCK = 8
"""Activations that a block keeps for its backward pass, in channels a token: the two norms' inputs
and outputs, q, k, v, and what attention gives."""
SAVED_OF_MLP = 2
"""The same of the MLP, in hidden channels a token: before and after its GELU."""


@dataclass(frozen=True)
class StudyCost:
    """Of one study."""

    tokens: int
    """Patch tokens of all its scans."""
    forward_flop: int
    """Of the encoder's forward pass; a training step takes three times as many."""
    saved_bytes: int
    """Activations in bf16 kept for the backward pass, nothing recomputed."""


def kept_patches(config: EncoderConfig, dropped: float) -> int:
    """Patches of a scan that patch dropout leaves."""
    depth, height, width = patches_of(config.img_size, config.patch_size)
    parts = depth if config.finest == "slice" else 1
    return parts * max(1, int(depth * height * width // parts * (1 - dropped)))


def encoder_parameters(config: EncoderConfig) -> int:
    """Learned numbers: without the tables of positions."""
    dim, hidden = config.embed_dim, int(config.embed_dim * config.mlp_ratio)
    depth, height, width = config.patch_size
    block = 4 * dim * dim + 4 * dim + 2 * dim * hidden + dim + hidden + 4 * dim
    patches = depth * height * width * dim + dim
    return patches + config.num_prefix_tokens * dim + config.depth * block + 2 * dim


def study_cost(config: EncoderConfig, scans: int, dropped: float = 0.0) -> StudyCost:
    """Of a study of `scans` scans, whose patches are kept but for a share of `dropped`."""
    kept, dim = kept_patches(config, dropped), config.embed_dim
    hidden = int(dim * config.mlp_ratio)
    patch = config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
    flop = 2 * scans * kept * patch * dim
    saved = scans * kept * (patch + dim)
    for index in range(config.depth):
        rows, length = _rows(config, config.level(index), scans, kept)
        # Without the mean of all patches, only prefix tokens are wanted of the last block.
        last = config.pooling == "token" and index == config.depth - 1
        asking = config.num_prefix_tokens if last else length
        flop += rows * (2 * length * 2 * dim * dim + 2 * asking * 2 * dim * dim)  # k, v; q, out
        flop += rows * 2 * 2 * asking * length * dim
        flop += rows * 2 * asking * 2 * dim * hidden
        saved += rows * asking * (SAVED_OF_BLOCK * dim + SAVED_OF_MLP * hidden)
    return StudyCost(scans * kept, flop, saved * BF16_BYTES)


def _rows(config: EncoderConfig, level: Level, scans: int, kept: int) -> tuple[int, int]:
    """Rows of a study at a level, and the tokens of each."""
    slices = config.img_size[0] // config.patch_size[0]
    rows = {"study": 1, "scan": scans, "slice": scans * slices}[level]
    return rows, scans * kept // rows + config.num_prefix_tokens
