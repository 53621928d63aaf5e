"""HLIP's published layout: its configurations and state dicts -> our encoder.

In: the JSON of a model (names as in HLIP's code) and its weights. Out: a `HierarchicalViT` with
those weights loaded.
The one idea: nothing of a configuration is passed over in silence. A key is a setting of ours, a
fact that holds for every encoder of the family, or a remark; any other is an error.
Source: the public code and checkpoints of HLIP; `../shared/parity` holds examples of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from train.inflate import start_from_mae
from train.variant import EncoderConfig
from train.vit import HierarchicalViT

REQUIRED = ("img_size", "patch_size", "embed_dim", "depth", "num_heads")
SETTINGS = {
    "img_size": "img_size",
    "patch_size": "patch_size",
    "embed_dim": "embed_dim",
    "depth": "depth",
    "num_heads": "num_heads",
    "mlp_ratio": "mlp_ratio",
    "slice_attn_indexes": "slice_blocks",
    "scan_attn_indexes": "scan_blocks",
    "study_attn_indexes": "study_blocks",
    "reg_tokens": "reg_tokens",
    "max_num_scans": "max_num_scans",
    "rope": "rope",
    "drop_path_rate": "drop_path_rate",
}
"""HLIP's names -> fields of EncoderConfig."""
FIXED = {
    "in_chans": 1,
    "class_token": True,
    "global_pool": "token",
    "qkv_bias": True,
    "layer_norm_eps": 1e-6,
    "act": "gelu(exact)",
    "pos_embed": "none",
    "num_classes": 0,
}
"""What holds for every encoder of the family; another value is one that ours does not have."""
REMARKS = {"name", "reference", "batch", "num_scans", "versions", "tensors", "notes"}
REMARK_PREFIX = "patch_drop_rate"
"""Patch dropout comes with a batch (`Studies.keep`)."""
NEWER_CODE = "master"
"""Where `reference` says this, a single pooled token comes out as [B, C]; else as [B, 1, C]."""
PREFIXES = ("sd.", "module.", "visual.trunk.")
"""Of names of weights: in the parity files, under DDP, in a model of two towers."""


def config_from_hlip(config: Mapping[str, Any]) -> EncoderConfig:
    """HLIP's names of settings -> ours. ValueError names what is missing, unknown, or not done by
    this encoder."""
    known = {*SETTINGS, *FIXED, *REMARKS, "global_pool_dinotxt"}
    unknown = [k for k in config if k not in known and not k.startswith(REMARK_PREFIX)]
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        raise ValueError(
            f"configuration key {unknown[0]!r} is not known"
            + (f"; did you mean {near[0]!r}?" if near else f"; known are {sorted(known)}")
        )
    missing = [key for key in REQUIRED if key not in config]
    if missing:
        raise ValueError(f"the configuration lacks {missing}")
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise ValueError(
                f"{key}: {config[key]!r} is not built into this encoder, which has {value!r}, as "
                "all of HLIP's have"
            )
    given = {ours: _value(key, config[key]) for key, ours in SETTINGS.items() if key in config}
    return EncoderConfig(
        **given,
        pooling="dinotxt" if config.get("global_pool_dinotxt") else "token",
        keep_token_axis=NEWER_CODE not in config.get("reference", ""),
    )


def encoder_from_hlip(
    config: Mapping[str, Any], state_dict: Mapping[str, Tensor]
) -> HierarchicalViT:
    """The encoder in evaluation mode; its output is [B, P, num_features], as the reference's is
    ([B, num_features] of its newer code's single token):

        encoder = encoder_from_hlip(json.loads(...), load_file(...))
        encoder(studies)  # [B, N, 1, D, H, W], uint8, or floats that are normalised already
        encoder(studies, keep=indices, scan_positions=rows)

    `keep` holds the kept patches of every scan [B * N, K], or of every slice [B * N * GD, K] in
    models with slice blocks. `scan_positions`, [N] or [B * N], are rows of the table of scan
    positions: the reference draws them at random whenever its batch is not of one study; without
    them they are 0, 1, 2, ..., the table interpolated for more scans than it has rows.

    The JSON may be that of an encoder, or of two towers with it under `visual`. Names of weights
    may carry `module.` (DDP), `visual.trunk.` (two towers: the others are left aside) and `sd.` (as
    in the parity files: the others are left aside). The weights of a 2D MAE are inflated. Missing
    and unexpected weights, and unknown keys of the configuration, are a ValueError.
    """
    encoder = HierarchicalViT(config_from_hlip(config.get("visual", config)))
    weights = dict(state_dict)
    for prefix in PREFIXES:
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        weights = own or weights
    if "pos_embed" in weights:
        start_from_mae(encoder, weights)
        return encoder.eval()
    expected = encoder.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    if missing or unexpected:
        raise ValueError(
            f"the weights do not fit the configuration: missing {missing}, unexpected {unexpected}"
        )
    for key, value in weights.items():
        if value.shape != expected[key].shape:
            raise ValueError(
                f"the weights do not fit the configuration: {key} is {tuple(value.shape)}, and "
                f"{tuple(expected[key].shape)} is what it asks for"
            )
    encoder.load_state_dict(weights)
    return encoder.eval()


def _value(key: str, value: Any) -> Any:
    """Lists of JSON as tuples, sizes checked."""
    if key in ("img_size", "patch_size"):
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise ValueError(f"{key} must be three numbers (D, H, W), not {value!r}")
        return tuple(int(number) for number in value)
    return tuple(value) if isinstance(value, list) else value
