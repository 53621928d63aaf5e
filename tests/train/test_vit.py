"""The encoder: studies of different lengths together, patch dropout, wrong input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from train.patches import PIXEL_MEAN, PIXEL_STD
from train.variant import EncoderConfig
from train.vit import HierarchicalViT, Studies

COUNTS = (1, 2, 2, 5)
SCAN_STUDY = EncoderConfig(
    img_size=(8, 32, 32),
    patch_size=(4, 16, 16),
    embed_dim=32,
    depth=4,
    num_heads=2,
    scan_blocks=(0, 2),
    study_blocks=(1, 3),
)
VARIANTS = {
    "scan+study": SCAN_STUDY,
    "scan last": replace(SCAN_STUDY, scan_blocks=(1, 3), study_blocks=(0, 2)),
    "slice+scan+study": replace(
        SCAN_STUDY, slice_blocks=(0, 3), scan_blocks=(1,), study_blocks=(2,)
    ),
    "slice+study": replace(SCAN_STUDY, slice_blocks=(1, 2), scan_blocks=(), study_blocks=(0, 3)),
    "positions": replace(SCAN_STUDY, max_num_scans=4),
    "dinotxt": replace(SCAN_STUDY, pooling="dinotxt", reg_tokens=1),
}


def encoder(config: EncoderConfig) -> HierarchicalViT:
    torch.manual_seed(0)
    return HierarchicalViT(config).eval()


def studies(counts: tuple[int, ...] = COUNTS) -> Studies:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (sum(counts), 1, 8, 32, 32), dtype=torch.uint8, generator=generator)
    return Studies(pixels, counts)


def keep_for(config: EncoderConfig, scans: int) -> Tensor:
    """Half of the patches of every scan or slice."""
    generator = torch.Generator().manual_seed(2)
    rows, patches = (scans * 2, 4) if config.finest == "slice" else (scans, 8)
    return torch.rand(rows, patches, generator=generator).argsort(1)[:, : patches // 2]


@pytest.mark.parametrize("drop", [False, True], ids=["all patches", "patch dropout"])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_study_alone_equals_itself_in_a_ragged_batch(name: str, drop: bool) -> None:
    """Forward and backward: no study sees another, and none is padded."""
    config = VARIANTS[name]
    model, batch = encoder(config), studies()
    keep = keep_for(config, sum(COUNTS)) if drop else None
    together = model(replace(batch, keep=keep))
    cotangent = torch.randn(together.shape, generator=torch.Generator().manual_seed(4))
    (together * cotangent).sum().backward()
    of_batch = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    alone, first = [], 0
    for count in COUNTS:
        rows_per_scan = 0 if keep is None else keep.shape[0] // sum(COUNTS)
        cut = slice(first * rows_per_scan, (first + count) * rows_per_scan)
        own = None if keep is None else keep[cut]
        alone.append(model(Studies(batch.pixels[first : first + count], (count,), keep=own)))
        first += count
    torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=0)
    (torch.cat(alone) * cotangent).sum().backward()
    of_each = [p.grad for p in model.parameters() if p.grad is not None]
    for one, other in zip(of_each, of_batch, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-6


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_array_input_equals_flat_input_in_any_order(name: str) -> None:
    model, batch = encoder(VARIANTS[name]), studies((3, 3))
    features = model(batch)
    torch.testing.assert_close(model(batch.pixels.unflatten(0, (2, 3))), features)
    mixed, order = studies((2, 1, 2)), [2, 3, 4, 0, 1]
    moved = Studies(mixed.pixels[order], (1, 2, 2))
    expected = model(mixed)[[1, 2, 0]]
    torch.testing.assert_close(model(moved), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_short_way_through_the_last_block_changes_nothing() -> None:
    model, batch = encoder(SCAN_STUDY), studies()
    assert model(batch).shape == (4, 32)
    whole = model.forward_features(batch)[0].squeeze(1)
    torch.testing.assert_close(model(batch), whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_stored_bytes_are_normalised_inside() -> None:
    model, batch = encoder(SCAN_STUDY), studies()
    floats = (batch.pixels / 255 - PIXEL_MEAN) / PIXEL_STD
    given = model(replace(batch, pixels=floats))
    torch.testing.assert_close(model(batch), given, atol=1e-5, rtol=0)


@torch.no_grad()
def test_keeping_every_patch_equals_keeping_none_out() -> None:
    model, batch = encoder(SCAN_STUDY), studies()
    every = torch.arange(8).flip(0).expand(sum(COUNTS), -1)
    torch.testing.assert_close(model(replace(batch, keep=every)), model(batch), atol=1e-5, rtol=0)


@torch.no_grad()
def test_scan_positions_are_the_first_rows_in_evaluation_whatever_the_batch() -> None:
    model, batch = encoder(VARIANTS["positions"]), studies((2, 2))
    given = replace(batch, scan_positions=torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(model(given), model(batch))
    other = replace(batch, scan_positions=torch.tensor([2, 0, 1, 3]))
    assert (model(other) - model(batch)).abs().max() > 1e-3


def test_drop_path_drops_whole_rows_in_training_only() -> None:
    model, batch = encoder(replace(SCAN_STUDY, drop_path_rate=0.9)), studies()
    quiet = model(batch)
    torch.testing.assert_close(model(batch), quiet)
    model.train()
    torch.manual_seed(3)
    dropped = model(batch)
    torch.manual_seed(3)
    torch.testing.assert_close(model(batch), dropped)
    assert (dropped - quiet).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_size": (9, 32, 32)}, "not divisible"),
        ({"scan_blocks": (0,)}, "exactly one level"),
        ({"scan_blocks": (0, 1, 2)}, "exactly one level"),
        ({"num_heads": 5}, "divisible by 4 .* num_heads 5"),
    ],
)
def test_configurations_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SCAN_STUDY, **change)  # type: ignore[arg-type]


def test_wrong_studies_are_refused() -> None:
    model, batch = encoder(SCAN_STUDY), studies()
    with pytest.raises(ValueError, match="at least one scan"):
        model(Studies(batch.pixels, (0, 10)))
    with pytest.raises(ValueError, match="promises"):
        model(Studies(batch.pixels, (1, 2)))
    with pytest.raises(ValueError, match="not divisible"):
        model(Studies(batch.pixels[..., :-1], COUNTS))
    with pytest.raises(ValueError, match=r"\[B, N, 1, D, H, W\]"):
        model(batch.pixels)
