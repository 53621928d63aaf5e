"""First weights of the encoder from a 2D masked autoencoder (MAE), by average inflation.

In: the weights of a 2D MAE ViT for RGB images, from a file or the hub. Out: those of our encoder.
The one idea: a patch of `depth` slices sees each slice as the 2D model saw an image, and takes the
mean: the 2D patch weight is summed over RGB and spread evenly over the slices. Positions are the 2D
table at our grid plus sines and cosines over depth; CLS takes up its own row of the 2D table, as
our prefix tokens have no positions. Blocks and norm are taken as they are.
Source: HLIP (arXiv 2505.21862), which found this better than putting all weight on the middle
slice.

Shapes: C channels; GD, GH, GW patches along depth, height, width; PD, PH, PW voxels of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from study.errors import UserError
from train.positions import sincos
from train.variant import EncoderConfig, patches_of
from train.vit import HierarchicalViT

UNUSED = ("decoder_", "mask_token", "head.")
"""Beginnings of names that only the pretraining or a classifier uses."""
OURS_ALONE = {"reg_token", "sequential_posemb"}
"""What a 2D MAE has nothing for: kept as the encoder has it."""


def start_from_mae(encoder: HierarchicalViT, weights: Mapping[str, Tensor]) -> None:
    """Put inflated weights into the encoder. ValueError where they do not fit it."""
    ours, inflated = encoder.state_dict(), inflate(weights, encoder.config)
    missing = sorted(set(ours) - set(inflated) - OURS_ALONE)
    unexpected = sorted(set(inflated) - set(ours))
    reshaped = [
        f"{key} {tuple(value.shape)} for {tuple(ours[key].shape)}"
        for key, value in inflated.items()
        if key in ours and value.shape != ours[key].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of other shapes": reshaped}
    if any(faults.values()):
        raise ValueError(
            "these MAE weights are of another size of ViT than the encoder (embed_dim "
            f"{encoder.config.embed_dim}, depth {encoder.config.depth}): "
            + "; ".join(f"{what}: {', '.join(keys)}" for what, keys in faults.items() if keys)
        )
    encoder.load_state_dict({**ours, **inflated})


def inflate(weights: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Names and weights of a 2D MAE (timm's names, as Meta's files have them too) -> ours."""
    for key in ("pos_embed", "cls_token", "patch_embed.proj.weight"):
        if key not in weights:
            raise ValueError(f"these are not the weights of a 2D MAE ViT: there is no {key}")
    inflated = {k: v for k, v in weights.items() if not k.startswith(UNUSED) and k != "pos_embed"}
    depth, height, width = patches_of(config.img_size, config.patch_size)
    table = weights["pos_embed"].float()
    inflated["cls_token"] = weights["cls_token"].float() + table[:, :1]
    plane = _plane(table[:, 1:], (height, width))
    over_depth = sincos(depth, table.shape[-1]).to(table.device)[:, None, None]
    inflated["spatial_posemb"] = (plane + over_depth)[None]
    weight = weights["patch_embed.proj.weight"].float()
    inflated["patch_embed.proj.weight"] = inflate_patch(weight, config.patch_size)
    return inflated


def inflate_patch(weight: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """[C, RGB, PH, PW] -> [C, 1, PD, PH, PW]. Another size in plane is interpolated (bicubic),
    without rescaling."""
    gray = weight.sum(dim=1, keepdim=True)
    if gray.shape[2:] != patch[1:]:
        gray = F.interpolate(gray, size=patch[1:], mode="bicubic", align_corners=False)
    return gray[:, :, None].repeat(1, 1, patch[0], 1, 1) / patch[0]


def _plane(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """[1, side * side, C] -> [GH, GW, C], bicubic with antialiasing where the grid differs."""
    side = math.isqrt(table.shape[1])
    if side * side != table.shape[1]:
        raise ValueError(f"pos_embed has {table.shape[1]} rows beside CLS: not a square grid")
    square = table.unflatten(1, (side, side))
    if (side, side) == grid:
        return square[0]
    resized = F.interpolate(
        square.permute(0, 3, 1, 2), size=grid, mode="bicubic", antialias=True, align_corners=False
    )
    return resized.permute(0, 2, 3, 1)[0]


def mae_weights(source: str) -> dict[str, Tensor]:
    """Of a local .pth or .safetensors file, or of a repository on the hub that holds
    model.safetensors, as timm/vit_base_patch16_224.mae does."""
    path = Path(source)
    if not path.is_file():
        path = _from_hub(source)
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle has many ways to fail, and raises what it likes
        raise UserError(f"{path} cannot be read as weights: {error}") from None
    return loaded.get("model", loaded)


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download  # slow to import
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, "model.safetensors"))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UserError(
            f"MAE weights {name!r}: there is no such file, and the hub gives no model.safetensors "
            f"of that name ({type(error).__name__})"
        ) from None
