"""Parity with HLIP's reference encoder: inputs, weights, outputs and gradients of
`../shared/parity`; and, for variants without files, with the same encoder written down plainly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from plainly import encode
from safetensors.torch import load_file
from torch import Tensor

from train.clip import encoder_from_hlip
from train.hlip import config_from_hlip
from train.vit import HierarchicalViT, Studies

PARITY = (
    Path(os.environ.get("DICOM2CLIP_REAL_DATA") or Path(__file__).parents[3] / "shared") / "parity"
)
ATOL = 2e-5
MODELS = ["scan_study_token", "scan_study_dualdinotxt"]

with_files = pytest.mark.skipif(
    not PARITY.is_dir(), reason=f"no parity files in {PARITY}; set DICOM2CLIP_REAL_DATA"
)


def load(name: str) -> tuple[dict[str, Any], HierarchicalViT, dict[str, Tensor]]:
    config = json.loads((PARITY / f"{name}.json").read_text())
    tensors = load_file(PARITY / f"{name}.safetensors")
    tensors = {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}
    weights = {k.removeprefix("sd."): v for k, v in tensors.items() if k.startswith("sd.")}
    return config, encoder_from_hlip(config, weights), tensors


def equal(ours: Tensor, reference: Tensor) -> None:
    assert ours.shape == reference.shape
    torch.testing.assert_close(ours, reference, atol=ATOL, rtol=0)


def batch(t: dict[str, Tensor], keep: Tensor | None = None) -> Studies:
    """The reference's batch of two, with the rows of scan positions that it drew."""
    return Studies.of(t["input"], keep, t.get("seq_perm"))


@with_files
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_single_studies_and_other_grids(name: str) -> None:
    _, encoder, t = load(name)
    for i in range(2):
        equal(encoder(t["input"][i : i + 1]), t[f"output_b1_{i}"])
    equal(encoder(t["input_interp"]), t["output_interp"])
    if "input_manyscans" in t:
        equal(encoder(t["input_manyscans"]), t["output_manyscans"])


@with_files
@pytest.mark.parametrize("name", MODELS)
def test_batch_features_and_gradients(name: str) -> None:
    _, encoder, t = load(name)
    prefix, patches = encoder.forward_features(batch(t))
    equal(torch.cat([prefix, patches.unflatten(0, (2, -1)).flatten(1, 2)], dim=1), t["features"])
    output = encoder(batch(t))
    equal(output, t["output"])
    (output * t["cotangent"]).sum().backward()
    gradients = {k: p.grad for k, p in encoder.named_parameters() if p.grad is not None}
    for key in [k for k in t if k.startswith("grad.")]:
        error = (gradients[key.removeprefix("grad.")] - t[key]).norm() / t[key].norm()
        assert error < 1e-4, key
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    torch.testing.assert_close(norm, t["grad_norm_all"][0], rtol=1e-4, atol=0)


@with_files
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_patch_dropout_with_the_reference_indices(name: str) -> None:
    _, encoder, t = load(name)
    equal(encoder.train()(batch(t, t["patchdrop_keep_indices"])), t["patchdrop_output"])


@with_files
@pytest.mark.parametrize("name", MODELS)
def test_state_dict_has_the_names_and_first_values_of_the_reference(name: str) -> None:
    config, encoder, t = load(name)
    assert set(encoder.state_dict()) == {k.removeprefix("sd.") for k in t if k.startswith("sd.")}
    fresh = HierarchicalViT(config_from_hlip(config))
    for table in ("spatial_posemb", "sequential_posemb"):
        if f"sd.{table}" in t:
            equal(fresh.state_dict()[table], t[f"sd.{table}"])


SCAN_STUDY: dict[str, Any] = {
    "img_size": [8, 32, 32],
    "patch_size": [4, 8, 8],
    "embed_dim": 48,
    "depth": 6,
    "num_heads": 3,
    "max_num_scans": 0,
    "slice_attn_indexes": [],
    "scan_attn_indexes": [0, 1, 3, 4],
    "study_attn_indexes": [2, 5],
    "global_pool_dinotxt": False,
    "reg_tokens": 0,
    "rope": False,
}
THREE_LEVELS = {
    "slice_attn_indexes": [0, 3],
    "scan_attn_indexes": [1, 4],
    "study_attn_indexes": [2, 5],
}
SLICE_SCAN = {
    "img_size": [16, 48, 48],
    "patch_size": [8, 24, 24],
    "slice_attn_indexes": [0, 1, 3, 4],
    "scan_attn_indexes": [2, 5],
    "study_attn_indexes": [],
}
VARIANTS: dict[str, dict[str, Any]] = {
    "scan+study": {},
    "slice+scan+study": THREE_LEVELS,
    "slice+scan+study, two tokens": THREE_LEVELS | {"reg_tokens": 1, "global_pool_dinotxt": True},
    "slice+scan": SLICE_SCAN,
    "slice+scan, dino.txt": SLICE_SCAN | {"global_pool_dinotxt": True},
    "slice+study": THREE_LEVELS | {"slice_attn_indexes": [0, 1, 3, 4], "scan_attn_indexes": []},
    "slice last": THREE_LEVELS | {"slice_attn_indexes": [0, 5], "study_attn_indexes": [2, 3]},
    "study first": {"scan_attn_indexes": [2, 5], "study_attn_indexes": [0, 1, 3, 4]},
    "rotary": {"rope": True},
    "rotary, slice+scan+study": THREE_LEVELS | {"rope": True, "reg_tokens": 1},
    "rotary, positions of scans": {"rope": True, "max_num_scans": 5},
    "positions of scans": THREE_LEVELS | {"max_num_scans": 5},
    "three registers": {"reg_tokens": 3, "mlp_ratio": 2.0},
}


def variant(name: str, scans: int = 3) -> tuple[dict[str, Any], dict[str, Tensor], Tensor]:
    """Its configuration, weights of a size that lets every part be felt, two studies."""
    config = SCAN_STUDY | VARIANTS[name]
    torch.manual_seed(0)
    weights = HierarchicalViT(config_from_hlip(config)).state_dict()
    weights = {
        key: value + 0.2 * torch.randn_like(value) if value.ndim > 1 else torch.rand_like(value)
        for key, value in weights.items()
    }
    return config, weights, torch.randn(2, scans, 1, *config["img_size"])


def equal_with_gradients(
    config: dict[str, Any], weights: dict[str, Tensor], studies: Tensor, **given: Tensor
) -> None:
    leaves = {key: value.clone().requires_grad_() for key, value in weights.items()}
    expected = encode(config, leaves, studies, **given)
    cotangent = torch.randn_like(expected)
    (expected * cotangent).sum().backward()
    encoder = encoder_from_hlip(config, weights)
    output = encoder(studies, **given)
    equal(output, expected)
    (output * cotangent).sum().backward()
    for key, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            error = (parameter.grad - leaves[key].grad).norm() / leaves[key].grad.norm()
            assert error < 1e-4, key


@with_files
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_what_is_written_down_plainly_is_the_reference(name: str) -> None:
    config, _, t = load(name)
    weights = {k.removeprefix("sd."): v for k, v in t.items() if k.startswith("sd.")}
    rows = t.get("seq_perm")
    equal(encode(config, weights, t["input"], scan_positions=rows), t["output"])
    kept = encode(config, weights, t["input"], t["patchdrop_keep_indices"], rows)
    equal(kept, t["patchdrop_output"])
    equal(encode(config, weights, t["input_interp"]), t["output_interp"])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_equals_what_is_written_down_plainly(name: str) -> None:
    equal_with_gradients(*variant(name))


@pytest.mark.parametrize("name", [n for n in VARIANTS if n != "study first"])
def test_every_variant_with_patches_dropped(name: str) -> None:
    """Study-first orders mix tokens in the reference: there is nothing to equal."""
    config, weights, studies = variant(name)
    scans, sizes = 6, zip(config["img_size"], config["patch_size"], strict=True)
    depth, height, width = (size // patch for size, patch in sizes)
    rows, patches = scans, depth * height * width
    if config["slice_attn_indexes"]:
        rows, patches = scans * depth, height * width
    keep = torch.rand(rows, patches).argsort(dim=1)[:, : patches // 2]
    equal_with_gradients(config, weights, studies, keep=keep)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_on_another_grid(name: str) -> None:
    config, weights, _ = variant(name)
    depth, height, width = config["patch_size"]
    equal_with_gradients(config, weights, torch.randn(1, 2, 1, depth * 3, height * 2, width * 5))


@pytest.mark.parametrize("name", ["positions of scans", "rotary, positions of scans"])
def test_more_scans_than_rows_and_given_rows(name: str) -> None:
    equal_with_gradients(*variant(name, scans=7))
    equal_with_gradients(*variant(name), scan_positions=torch.tensor([4, 0, 2]))


@torch.no_grad()
def test_names_may_come_from_a_model_of_two_towers_under_ddp() -> None:
    config, weights, studies = variant("scan+study")
    whole = {f"module.visual.trunk.{key}": value for key, value in weights.items()}
    whole |= {
        "module.visual.head.proj.weight": torch.zeros(2, 2),
        "module.logit_scale": torch.ones(1),
    }
    expected = encoder_from_hlip(config, weights)(studies)
    torch.testing.assert_close(encoder_from_hlip({"visual": config}, whole)(studies), expected)
    parity = {f"sd.{key}": value for key, value in weights.items()} | {"input": studies}
    torch.testing.assert_close(encoder_from_hlip(config, parity)(studies), expected)


@torch.no_grad()
def test_the_newer_code_gives_a_single_token_without_its_axis() -> None:
    config, weights, studies = variant("scan+study")
    assert encoder_from_hlip(config, weights)(studies).shape == (2, 1, 48)
    newer = config | {"reference": "hlip master visual_encoder.py"}
    assert encoder_from_hlip(newer, weights)(studies).shape == (2, 48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_sise": [8, 8, 8]}, "'patch_sise' is not known; did you mean 'patch_size'"),
        ({"act": "gelu(tanh)"}, "act: 'gelu.tanh.' is not built into this encoder"),
        ({"global_pool": "map"}, "global_pool: 'map'"),
        ({"img_size": [8, 32]}, "img_size must be three numbers"),
        ({"img_size": [9, 32, 32]}, "not divisible.*Store them as .8, 32, 32."),
        ({"scan_attn_indexes": [0, 1, 3]}, "exactly one level"),
        ({"embed_dim": 60}, "is what it asks for"),
        ({"reg_tokens": 1}, "missing .'reg_token'."),
    ],
)
def test_what_cannot_be_loaded_is_refused(change: dict[str, Any], message: str) -> None:
    config, weights, _ = variant("scan+study")
    with pytest.raises(ValueError, match=message):
        encoder_from_hlip(config | change, weights)


def test_missing_settings_and_surplus_weights_are_refused() -> None:
    config, weights, _ = variant("scan+study")
    with pytest.raises(ValueError, match=r"lacks .'depth'"):
        encoder_from_hlip({k: v for k, v in config.items() if k != "depth"}, weights)
    with pytest.raises(ValueError, match=r"unexpected .'attn_pool.latent'"):
        encoder_from_hlip(config, weights | {"attn_pool.latent": torch.zeros(1)})
