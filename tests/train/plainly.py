"""HLIP's encoder written down plainly, as `../shared/reference/hlip.md` tells it, to test ours with
variants of which there are no files: tokens lie in rows, which are merged and split between levels
with all that they hold; every study has as many scans. Slow, without training, float."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Config = dict[str, Any]
Weights = dict[str, Tensor]


def encode(
    config: Config,
    weights: Weights,
    studies: Tensor,
    keep: Tensor | None = None,
    scan_positions: Tensor | None = None,
) -> Tensor:
    """[B, N, 1, D, H, W] -> [B, P, F]; `keep` indexes the patches of the first level's rows."""
    num_studies, num_scans = studies.shape[:2]
    tokens = F.conv3d(
        studies.flatten(0, 1),
        weights["patch_embed.proj.weight"],
        weights["patch_embed.proj.bias"],
        stride=config["patch_size"],
    ).permute(0, 2, 3, 4, 1)
    grid = tokens.shape[1:4]
    table = weights["spatial_posemb"].permute(0, 4, 1, 2, 3)
    table = F.interpolate(table, size=grid, mode="trilinear", align_corners=False)
    tokens = tokens + table.permute(0, 2, 3, 4, 1)
    if config["max_num_scans"] > 1:
        rows = weights["sequential_posemb"]
        if num_scans > rows.shape[1]:
            rows = F.interpolate(rows.transpose(1, 2), size=num_scans, mode="linear")
            rows = rows.transpose(1, 2)
        positions = torch.arange(num_scans) if scan_positions is None else scan_positions
        tokens = tokens + rows[0, positions].repeat(num_studies, 1)[:, None, None, None]
    places = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij"), dim=-1)
    places = places.expand(len(tokens), -1, -1, -1, -1)
    count = {"slice": num_studies * num_scans * grid[0], "scan": num_studies * num_scans}
    count["study"] = num_studies
    level = level_of(config, 0)
    tokens = tokens.reshape(count[level], -1, tokens.shape[-1])
    places = places.reshape(count[level], -1, 3)
    if keep is not None:
        tokens = torch.stack([row[kept] for row, kept in zip(tokens, keep, strict=True)])
        places = torch.stack([row[kept] for row, kept in zip(places, keep, strict=True)])
    names = ["cls_token", "reg_token"] if config["reg_tokens"] else ["cls_token"]
    prefix = torch.cat([weights[name] for name in names], dim=1)
    rows = torch.cat([prefix.expand(len(tokens), -1, -1), tokens], dim=1)
    num_prefix = prefix.shape[1]
    for index in range(config["depth"]):
        if level_of(config, index) != level:
            level = level_of(config, index)
            rows = relaid(rows, num_prefix, count[level])
            places = places.reshape(count[level], -1, 3)
        rows = block(config, weights, f"blocks.{index}.", rows, places, num_prefix)
    rows = relaid(rows, num_prefix, num_studies)
    rows = norm(weights, "norm.", rows)
    pooled = rows[:, :num_prefix]
    if config["global_pool_dinotxt"]:
        mean = rows[:, num_prefix:].mean(dim=1, keepdim=True).expand_as(pooled)
        pooled = torch.cat([pooled, mean], dim=-1)
    return pooled


def level_of(config: Config, block: int) -> str:
    return next(n for n in ("slice", "scan", "study") if block in config[f"{n}_attn_indexes"])


def relaid(rows: Tensor, num_prefix: int, count: int) -> Tensor:
    """Rows merged or split into `count`: prefix averaged or copied, patches in their order."""
    prefix, patches = rows[:, :num_prefix], rows[:, num_prefix:]
    patches = patches.reshape(count, -1, rows.shape[-1])
    if count < len(rows):
        prefix = prefix.reshape(count, -1, num_prefix, rows.shape[-1]).mean(dim=1)
    else:
        prefix = prefix.repeat_interleave(count // len(rows), dim=0)
    return torch.cat([prefix, patches], dim=1)


def norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[name + "weight"], weights[name + "bias"], 1e-6)


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[name + "weight"], weights[name + "bias"])


def block(
    config: Config, weights: Weights, name: str, x: Tensor, places: Tensor, num_prefix: int
) -> Tensor:
    heads = config["num_heads"]
    qkv = linear(weights, name + "attn.qkv.", norm(weights, name + "norm1.", x))
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    if config["rope"]:
        query, key = (turned(part, places, num_prefix) for part in (query, key))
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    x = x + linear(weights, name + "attn.proj.", mixed)
    inside = linear(weights, name + "mlp.fc1.", norm(weights, name + "norm2.", x))
    return x + linear(weights, name + "mlp.fc2.", F.gelu(inside))


def turned(x: Tensor, places: Tensor, num_prefix: int) -> Tensor:
    """[R, heads, T, E]: thirds of the channels of patch tokens as complex numbers, turned by place
    along D, H, W; what is left over stays."""
    channels = 2 * ((x.shape[-1] // 3) // 2)
    parts = [x[:, :, num_prefix:, axis * channels : (axis + 1) * channels] for axis in range(3)]
    for axis in range(3):
        frequencies = 10_000 ** (-torch.arange(channels // 2) / (channels / 2))
        angles = places[:, None, :, axis, None] * frequencies
        numbers = torch.view_as_complex(parts[axis].unflatten(-1, (-1, 2)).contiguous())
        parts[axis] = torch.view_as_real(numbers * torch.polar(torch.ones(()), angles)).flatten(-2)
    patches = torch.cat([*parts, x[:, :, num_prefix:, 3 * channels :]], dim=-1)
    return torch.cat([x[:, :, :num_prefix], patches], dim=2)
