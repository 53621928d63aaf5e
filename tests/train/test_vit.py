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
    "slice+scan": replace(
        SCAN_STUDY, slice_blocks=(0, 1, 2), scan_blocks=(3,), study_blocks=(), pooling="dinotxt"
    ),
    "rotary": replace(SCAN_STUDY, rope=True),
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
def test_one_scan_and_forty_in_one_batch(name: str) -> None:
    model, batch = encoder(VARIANTS[name]), studies((40, 1, 2))
    together = model(replace(batch, keep=keep_for(VARIANTS[name], 43)))
    per_scan = keep_for(VARIANTS[name], 43).unflatten(0, (43, -1))
    for index, cut in enumerate((slice(0, 40), slice(40, 41), slice(41, 43))):
        count, keep = cut.stop - cut.start, per_scan[cut].flatten(0, 1)
        alone = model(Studies(batch.pixels[cut], (count,), keep))
        torch.testing.assert_close(alone[0], together[index], atol=1e-5, rtol=0)


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


@pytest.mark.parametrize("name", [n for n in VARIANTS if VARIANTS[n].pooling == "token"])
@torch.no_grad()
def test_the_short_way_through_the_last_block_changes_nothing(name: str) -> None:
    model, batch = encoder(VARIANTS[name]), studies()
    assert model(batch).shape == (4, 32)
    whole = model.forward_features(batch)[0].squeeze(1)
    torch.testing.assert_close(model(batch), whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_no_float_copy_of_dropped_patches_is_made() -> None:
    """The patch embedding works on kept voxels alone."""
    model, batch = encoder(SCAN_STUDY), studies()
    sizes: list[int] = []
    linear = torch.nn.functional.linear

    def measured(x: Tensor, *weights: Tensor) -> Tensor:
        sizes.append(x.numel())
        return linear(x, *weights)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", measured)
        model.patch_embed(batch.pixels, keep_for(SCAN_STUDY, sum(COUNTS)))
    assert sizes == [batch.pixels.numel() // 2]


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


def gradients(model: HierarchicalViT, batch: Studies) -> list[Tensor]:
    """Of a training step with drop path, drawn from the same random state."""
    torch.manual_seed(3)
    features = model.train()(batch).float()
    cotangent = torch.randn(features.shape, generator=torch.Generator().manual_seed(4))
    return list(
        torch.autograd.grad(
            (features * cotangent).sum(), [p for p in model.parameters() if p.requires_grad]
        )
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_activation_checkpointing_runs_blocks_again_to_the_same_gradients(name: str) -> None:
    model, batch = encoder(replace(VARIANTS[name], drop_path_rate=0.5)), studies()
    expected = gradients(model, batch)
    runs: list[int] = []
    for index, block in enumerate(model.blocks):
        block.register_forward_pre_hook(lambda *_, index=index: runs.append(index))
    model.set_grad_checkpointing()
    assert all(map(torch.equal, gradients(model, batch), expected))
    assert sorted(runs) == sorted([*range(4), *range(4)])
    model.set_grad_checkpointing(False)
    assert all(map(torch.equal, gradients(model, batch), expected))
    assert len(runs) == 12


@pytest.mark.slow
def test_compiled_blocks_change_nothing_but_speed() -> None:
    """With activation checkpointing too, which runs the compiled blocks again."""
    torch._dynamo.reset()
    config = replace(VARIANTS["slice+scan+study"], drop_path_rate=0.5, rope=True)
    model, batch = encoder(config), studies()
    names, expected = list(model.state_dict()), gradients(model, batch)
    model.compile_blocks(backend="aot_eager")
    model.set_grad_checkpointing()
    for one, other in zip(gradients(model, batch), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("name", VARIANTS)
def test_bfloat16_by_autocast_and_throughout(name: str) -> None:
    model, batch = encoder(VARIANTS[name]), studies()
    batch = replace(batch, keep=keep_for(VARIANTS[name], sum(COUNTS)))
    exact, exact_gradients = model(batch).detach(), gradients(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, mixed_gradients = model(batch).float(), gradients(model, batch)
    throughout = model.bfloat16()(batch)
    assert throughout.dtype == torch.bfloat16
    for features in (mixed, throughout.float()):
        assert (features - exact).norm() < 0.05 * exact.norm()
    for one, other in zip(mixed_gradients, exact_gradients, strict=True):
        assert (one - other).norm() < 0.2 * other.norm() + 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_size": (9, 32, 32)}, "not divisible"),
        ({"scan_blocks": (0,)}, "exactly one level"),
        ({"scan_blocks": (0, 1, 2)}, "exactly one level"),
        ({"num_heads": 5}, "divisible by 4 .* num_heads 5"),
        ({"rope": True, "num_heads": 8}, "head's 4 channels .* at least 6"),
        ({"drop_path_rate": 1.0}, "below 1"),
        ({"reg_tokens": -1}, "reg_tokens -1"),
    ],
)
def test_configurations_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SCAN_STUDY, **change)  # type: ignore[arg-type]


def test_wrong_studies_are_refused() -> None:
    model, batch = encoder(SCAN_STUDY), studies()
    with pytest.raises(ValueError, match="leave studies without scans out"):
        model(Studies(batch.pixels, (0, 10)))
    with pytest.raises(ValueError, match="at least one scan"):
        model(Studies(batch.pixels[:0], ()))
    with pytest.raises(ValueError, match="promises"):
        model(Studies(batch.pixels, (1, 2)))
    with pytest.raises(ValueError, match=r"not divisible.*Store them as \(8, 32, 16\)"):
        model(Studies(batch.pixels[..., :-1], COUNTS))
    with pytest.raises(ValueError, match=r"\[B, N, 1, D, H, W\]"):
        model(batch.pixels)


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("scan+study", torch.zeros(20, 4), r"keep must be \[10, K\] with K of 1 to 8"),
        ("scan+study", torch.zeros(10, 9), r"K of 1 to 8"),
        ("scan+study", torch.zeros(10, 0), r"K of 1 to 8"),
        ("scan+study", torch.full((10, 4), 8), "0 to 7; found 8 to 8"),
        ("scan+study", torch.full((10, 4), -1), "0 to 7; found -1 to -1"),
        ("slice+study", torch.zeros(10, 4), r"keep must be \[20, K\].*every slice .* would mix"),
    ],
)
def test_kept_patches_that_would_mix_tokens_are_refused(
    name: str, keep: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encoder(VARIANTS[name])(replace(studies(), keep=keep.long()))


@pytest.mark.parametrize(
    ("name", "positions", "message"),
    [
        ("positions", [0, 1, 2, 3, 4, 0, 0, 0, 0, 0], "not all rows of the table, 0 to 3"),
        ("positions", [0, 1], r"scan_positions must be \[10\]"),
        ("scan+study", [0] * 10, "has no scan positions"),
    ],
)
def test_scan_positions_that_are_not_there_are_refused(
    name: str, positions: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encoder(VARIANTS[name])(replace(studies(), scan_positions=torch.tensor(positions)))
