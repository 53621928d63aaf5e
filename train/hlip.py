"""HLIP's published layout: its configurations and state dicts -> our encoder.

In: the JSON of a model (names as in HLIP's code) and its weights. Out: a `HierarchicalViT` with
those weights loaded.
Source: the public code and checkpoints of HLIP; `../shared/parity` holds examples of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from train.variant import EncoderConfig
from train.vit import HierarchicalViT


def config_from_hlip(config: Mapping[str, Any]) -> EncoderConfig:
    """HLIP's names of settings -> ours. ValueError for what this encoder does not do."""
    if config.get("rope"):
        raise ValueError("rotary positions (rope) are not built into this encoder yet")
    pool = config.get("global_pool", "token")
    if pool != "token":
        raise ValueError(f"global_pool {pool!r} is not known; HLIP's encoders pool 'token'")
    return EncoderConfig(
        img_size=_triple(config["img_size"]),
        patch_size=_triple(config["patch_size"]),
        embed_dim=config["embed_dim"],
        depth=config["depth"],
        num_heads=config["num_heads"],
        slice_blocks=tuple(config.get("slice_attn_indexes", ())),
        scan_blocks=tuple(config.get("scan_attn_indexes", ())),
        study_blocks=tuple(config.get("study_attn_indexes", ())),
        mlp_ratio=config.get("mlp_ratio", 4.0),
        reg_tokens=config.get("reg_tokens", 0),
        pooling="dinotxt" if config.get("global_pool_dinotxt") else "token",
        max_num_scans=config.get("max_num_scans", 0),
        keep_token_axis=True,
    )


def encoder_from_hlip(
    config: Mapping[str, Any], state_dict: Mapping[str, Tensor]
) -> HierarchicalViT:
    """The encoder in evaluation mode; its output is [B, P, num_features], as the reference's is.

    Keys may carry `module.` (DDP), and `sd.` as in the parity files. Missing or unexpected ones are
    a ValueError.
    """
    encoder = HierarchicalViT(config_from_hlip(config))
    weights = {
        key.removeprefix("sd.").removeprefix("module."): value for key, value in state_dict.items()
    }
    missing, unexpected = encoder.load_state_dict(weights, strict=False)
    if missing or unexpected:
        raise ValueError(
            f"the weights do not fit the configuration: missing {missing}, unexpected {unexpected}"
        )
    return encoder.eval()


def _triple(value: Any) -> tuple[int, int, int]:
    depth, height, width = value
    return (int(depth), int(height), int(width))
