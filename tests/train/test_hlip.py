"""Parity with HLIP's reference encoder: inputs, weights, outputs and gradients of
`../shared/parity`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
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

pytestmark = pytest.mark.skipif(
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


def batch(t: dict[str, Tensor], **given: Tensor) -> Studies:
    """The reference's batch of two, with the rows of scan positions that it drew."""
    studies = Studies.of(t["input"])
    positions = t["seq_perm"].repeat(len(studies.scans_per_study)) if "seq_perm" in t else None
    return Studies(studies.pixels, studies.scans_per_study, scan_positions=positions, **given)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_single_studies_and_other_grids(name: str) -> None:
    _, encoder, t = load(name)
    for i in range(2):
        equal(encoder(t["input"][i : i + 1]), t[f"output_b1_{i}"])
    equal(encoder(t["input_interp"]), t["output_interp"])
    if "input_manyscans" in t:
        equal(encoder(t["input_manyscans"]), t["output_manyscans"])


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


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_patch_dropout_with_the_reference_indices(name: str) -> None:
    _, encoder, t = load(name)
    equal(encoder.train()(batch(t, keep=t["patchdrop_keep_indices"])), t["patchdrop_output"])


@pytest.mark.parametrize("name", MODELS)
def test_state_dict_has_the_names_and_first_values_of_the_reference(name: str) -> None:
    config, encoder, t = load(name)
    assert set(encoder.state_dict()) == {k.removeprefix("sd.") for k in t if k.startswith("sd.")}
    fresh = HierarchicalViT(config_from_hlip(config))
    for table in ("spatial_posemb", "sequential_posemb"):
        if f"sd.{table}" in t:
            equal(fresh.state_dict()[table], t[f"sd.{table}"])
