"""What a model costs by its sizes, against what torch counts."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from train.cost import BF16_BYTES, encoder_parameters, kept_patches, study_cost
from train.presets import ENCODERS
from train.variant import EncoderConfig
from train.vit import HierarchicalViT, Studies

BENCH = Path(__file__).parents[2] / "bench" / "models.py"
KINDS = [
    "vit_base_multiscan_h2_token1176",
    "vit_base_slice_scan_token2744",
    "vit_base_slice_scan_study_dualdinotxt1568",
    "vit_large_scan_study_dualdinotxt1568",
    "dicom2clip_tiny",
]


def small(name: str) -> EncoderConfig:
    """The named encoder, narrow, on 4 x 4 x 4 patches."""
    config = ENCODERS[name]
    depth, height, width = config.patch_size
    size = (4 * depth, 4 * height, 4 * width)
    return replace(config, img_size=size, embed_dim=48, num_heads=3, drop_path_rate=0.0)


def one_study(config: EncoderConfig, scans: int, dropped: float) -> Studies:
    parts = scans * (4 if config.finest == "slice" else 1)
    kept = kept_patches(config, dropped) * scans // parts
    pixels = torch.zeros(scans, 1, *config.img_size, dtype=torch.uint8)
    return Studies(pixels, (scans,), keep=torch.arange(kept).expand(parts, -1))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dropped", [0.0, 0.5])
def test_parameters_and_arithmetic_are_those_that_torch_counts(name: str, dropped: float) -> None:
    config = small(name)
    encoder = HierarchicalViT(config)
    learned = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    assert encoder_parameters(config) == learned
    # torch counts attention only where it is written out.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        encoder(one_study(config, 3, dropped))
    assert study_cost(config, 3, dropped).forward_flop == counted.get_total_flops()


@pytest.mark.parametrize("name", KINDS)
def test_activations_are_those_that_torch_keeps(name: str) -> None:
    """Within 3 %: sums of attention's rows and of norms are left out."""
    config = small(name)
    encoder = HierarchicalViT(config)
    own = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encoder(one_study(config, 6, 0.0))
    numbers = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 4
    assert study_cost(config, 6).saved_bytes / BF16_BYTES == pytest.approx(numbers, rel=0.03)


@given(
    name=st.sampled_from(sorted(ENCODERS)),
    scans=st.integers(1, 40),
    dropped=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)
@settings(max_examples=50, deadline=None)
def test_more_scans_and_fewer_dropped_patches_cost_more(
    name: str, scans: int, dropped: float
) -> None:
    config = ENCODERS[name]
    cost, more = study_cost(config, scans, dropped), study_cost(config, scans + 1, dropped)
    assert more.tokens - cost.tokens == kept_patches(config, dropped)
    assert more.forward_flop > cost.forward_flop
    assert more.saved_bytes > cost.saved_bytes
    assert study_cost(config, scans, dropped + 0.2).forward_flop < cost.forward_flop
    assert kept_patches(config, 0.0) == config.tokens_per_scan


def test_the_page_has_the_table_that_the_script_writes() -> None:
    script = runpy.run_path(str(BENCH))
    page = (BENCH.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    shown = page.split(script["BEGIN"])[1].split(script["END"])[0]
    assert shown == script["table"](), "run: python bench/models.py --write"
