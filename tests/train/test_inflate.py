"""First weights from a 2D MAE: what the inflated encoder sees of equal slices, files, wrong
sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from study.errors import UserError
from train.hlip import encoder_from_hlip
from train.inflate import inflate, inflate_patch, mae_weights, start_from_mae
from train.positions import sincos
from train.variant import EncoderConfig
from train.vit import HierarchicalViT

CONFIG = EncoderConfig(
    img_size=(12, 32, 32),
    patch_size=(4, 8, 8),
    embed_dim=24,
    depth=2,
    num_heads=2,
    scan_blocks=(0,),
    study_blocks=(1,),
    reg_tokens=1,
    max_num_scans=4,
)


def mae(config: EncoderConfig = CONFIG) -> dict[str, Tensor]:
    """Weights as a pretraining writes them, with its decoder, for images of 4 x 4 patches."""
    torch.manual_seed(1)
    ours = HierarchicalViT(config).state_dict()
    weights = {k: torch.randn_like(v) for k, v in ours.items() if k.startswith(("blocks", "norm"))}
    dim = config.embed_dim
    return weights | {
        "cls_token": torch.randn(1, 1, dim),
        "pos_embed": torch.randn(1, 17, dim),
        "patch_embed.proj.weight": torch.randn(dim, 3, 8, 8),
        "patch_embed.proj.bias": torch.randn(dim),
        "mask_token": torch.randn(1, 1, dim),
        "decoder_embed.weight": torch.randn(2, dim),
    }


def test_equal_slices_are_seen_as_the_image_was() -> None:
    weights, image = mae(), torch.randn(1, 1, 32, 32)
    encoder = HierarchicalViT(CONFIG)
    start_from_mae(encoder, weights)
    expected = F.conv2d(
        image.expand(-1, 3, -1, -1),
        weights["patch_embed.proj.weight"],
        weights["patch_embed.proj.bias"],
        stride=8,
    )
    volume = image.unsqueeze(2).expand(-1, -1, 12, -1, -1)
    tokens = encoder.patch_embed(volume, None).unflatten(1, (3, 16))
    for of_depth in tokens.unbind(1):
        torch.testing.assert_close(of_depth, expected.flatten(2).mT, atol=1e-4, rtol=1e-4)


def test_positions_and_tokens() -> None:
    weights = mae()
    encoder = HierarchicalViT(CONFIG)
    register = encoder.reg_token.clone()
    start_from_mae(encoder, weights)
    assert torch.equal(encoder.cls_token, weights["cls_token"] + weights["pos_embed"][:, :1])
    assert torch.equal(encoder.reg_token, register)
    plane = weights["pos_embed"][0, 1:].unflatten(0, (4, 4))
    space = encoder.spatial_posemb
    torch.testing.assert_close(space[0] - sincos(3, 24)[:, None, None], plane.expand(3, -1, -1, -1))
    assert not space.requires_grad
    assert torch.equal(encoder.blocks[1].mlp.fc1.weight, weights["blocks.1.mlp.fc1.weight"])


def test_other_patches_and_grids_are_interpolated() -> None:
    """A constant stays the constant, whatever the size: nothing is rescaled."""
    constant = torch.full((24, 3, 8, 8), 2.0)
    torch.testing.assert_close(
        inflate_patch(constant, (4, 12, 6)), torch.full((24, 1, 4, 12, 6), 1.5)
    )
    weights = mae() | {"pos_embed": torch.ones(1, 17, 24)}
    table = inflate(weights, replace(CONFIG, img_size=(12, 48, 16)))["spatial_posemb"]
    assert table.shape == (1, 3, 6, 2, 24)
    torch.testing.assert_close(table[0, 0] - sincos(1, 24)[0], torch.ones(6, 2, 24))


def test_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    weights = mae()
    torch.save({"model": weights}, tmp_path / "mae.pth")
    save_file(weights, tmp_path / "mae.safetensors")
    for name in ("mae.pth", "mae.safetensors"):
        read = mae_weights(str(tmp_path / name))
        assert all(torch.equal(read[key], value) for key, value in weights.items())
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"bad\.pth cannot be read"):
        mae_weights(str(tmp_path / "bad.pth"))


def test_weights_given_to_the_published_entry_are_inflated() -> None:
    config = {
        "img_size": [12, 32, 32],
        "patch_size": [4, 8, 8],
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 2,
        "scan_attn_indexes": [0],
        "study_attn_indexes": [1],
    }
    encoder = encoder_from_hlip(config, mae())
    assert torch.equal(encoder.cls_token, mae()["cls_token"] + mae()["pos_embed"][:, :1])


def test_weights_that_do_not_fit_are_refused() -> None:
    encoder = HierarchicalViT(CONFIG)
    deeper = replace(CONFIG, depth=3, scan_blocks=(0, 2))
    with pytest.raises(ValueError, match=r"unexpected: blocks\.2"):
        start_from_mae(encoder, mae(deeper))
    with pytest.raises(ValueError, match=r"of other shapes: .*cls_token \(1, 1, 48\)"):
        start_from_mae(encoder, mae(replace(CONFIG, embed_dim=48)))
    with pytest.raises(ValueError, match="there is no pos_embed"):
        start_from_mae(encoder, HierarchicalViT(CONFIG).state_dict())
    with pytest.raises(ValueError, match="not a square grid"):
        start_from_mae(encoder, mae() | {"pos_embed": torch.zeros(1, 18, 24)})
