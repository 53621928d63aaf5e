"""The image encoder: a plain ViT over all scans of a study, with attention in slices, scans or the
whole study by block.

In: studies as scans one after another (`Studies`), or an array [B, N, 1, D, H, W] with N scans in
each. Out: pooled features of each study.
The one idea: patch tokens never move. Only the prefix tokens (CLS, registers) belong to the level
at which a block attends: on the way up (slice to scan to study) they are averaged, on the way down
copied. So studies of any number of scans go in one batch, without padding, masks or duplicates. A
state dict has the names and shapes of HLIP's checkpoints.
Source: Zhao et al., HLIP (arXiv 2505.21862), and its public code; see docs/decisions for what
differs.

Shapes: B studies, S scans in all, N scans of a study, GD x GH x GW = T patches of a scan, K kept of
them, P prefix tokens, C channels, V voxels of a patch, M tokens in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from train.attention import LAYER_NORM_EPS, Block, Rows
from train.levels import joined, mean_by_study, moved, parted
from train.positions import resize_sequential, resize_spatial, sincos, spatial_table
from train.variant import EncoderConfig, Grid, Level, patches_of

PIXEL_MEAN, PIXEL_STD = 0.449, 0.226
"""Of values in 0..1: means over the channels of ImageNet's mean and standard deviation, as HLIP
normalises."""
PIXEL_MAX = 255.0
INIT_STD, INIT_DIM = 0.02, 768
"""timm's standard deviation of first weights, and the width it was chosen for. Scaled with the
width, so that a narrow encoder does not begin with vanishing branches."""


@dataclass(frozen=True)
class Studies:
    """Scans of studies one after another, nothing padded and nothing repeated."""

    pixels: Tensor
    """[S, 1, D, H, W]: uint8 as stored, or floats that are normalised already."""
    scans_per_study: tuple[int, ...]
    """Sums to S. Neighbours with equal numbers are encoded together: sort by it for speed."""
    keep: Tensor | None = None
    """Kept patches of every scan, or of every slice in models with slice blocks: [S, K] or [S * GD,
    K] indices."""
    scan_positions: Tensor | None = None
    """[S] rows of the table of scan positions; None takes 0, 1, 2, ... in every study."""

    @classmethod
    def of(cls, pixels: Tensor | Studies) -> Studies:
        """Accepts [B, N, 1, D, H, W] too."""
        if isinstance(pixels, Studies):
            return pixels
        if pixels.ndim != 6 or pixels.shape[2] != 1:
            raise ValueError(
                f"studies must be an array [B, N, 1, D, H, W], not of shape {tuple(pixels.shape)}"
            )
        return cls(pixels.flatten(0, 1), (pixels.shape[1],) * pixels.shape[0])

    def to(self, device: torch.device) -> Studies:
        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        pixels = self.pixels.to(device, non_blocking=True)
        return Studies(pixels, self.scans_per_study, moved(self.keep), moved(self.scan_positions))

    def check(self) -> None:
        if not self.scans_per_study or min(self.scans_per_study) < 1:
            raise ValueError(
                f"every study needs at least one scan; found scans_per_study {self.scans_per_study}"
            )
        if self.pixels.ndim != 5 or sum(self.scans_per_study) != self.pixels.shape[0]:
            raise ValueError(
                f"pixels of shape {tuple(self.pixels.shape)} are not the "
                f"{sum(self.scans_per_study)} scans [S, 1, D, H, W] that scans_per_study "
                f"{self.scans_per_study} promises"
            )


class PatchEmbedding(nn.Module):
    """Voxels of kept patches -> tokens: gather, normalise, one linear layer (held as timm's Conv3d
    for its names)."""

    def __init__(self, patch: Grid, dim: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(1, dim, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor, kept: Tensor | None) -> Tensor:
        """[S, 1, D, H, W] and kept patches [S, K] (None: all) -> [S, K, C]. Patches are counted
        along D, H, W."""
        scans = pixels.shape[0]
        depth, height, width = patches_of(pixels.shape[2:], self.patch)
        pd, ph, pw = self.patch
        blocks = pixels.reshape(scans, depth, pd, height, ph, width, pw)
        blocks = blocks.permute(0, 1, 3, 5, 2, 4, 6)
        if kept is None:
            patches_SKV = blocks.reshape(scans, depth * height * width, -1)
        else:
            which = torch.arange(scans, device=pixels.device)[:, None]
            row = kept // width
            patches_SKV = blocks[which, row // height, row % height, kept % width].flatten(2)
        if patches_SKV.dtype == torch.uint8:
            patches_SKV = patches_SKV.float().mul_(1 / (PIXEL_MAX * PIXEL_STD))
            patches_SKV = patches_SKV.sub_(PIXEL_MEAN / PIXEL_STD)
        return nn.functional.linear(patches_SKV, self.proj.weight.flatten(1), self.proj.bias)


class HierarchicalViT(nn.Module):
    """The encoder; see the module's docstring. `default_cfg`, `num_features`, ... are what
    open_clip asks of a trunk."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.num_features = config.num_features
        self.default_cfg: dict[str, Any] = {"input_size": (1, *config.img_size), "num_classes": 0}
        dim = config.embed_dim
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * INIT_STD)
        if config.reg_tokens:
            self.reg_token = nn.Parameter(torch.randn(1, config.reg_tokens, dim) * INIT_STD)
        table = spatial_table(patches_of(config.img_size, config.patch_size), dim)
        self.spatial_posemb = nn.Parameter(table, requires_grad=False)
        if config.max_num_scans > 1:
            table = sincos(config.max_num_scans, dim)[None]
            self.sequential_posemb = nn.Parameter(table, requires_grad=False)
        self.patch_embed = PatchEmbedding(config.patch_size, dim)
        rates = torch.linspace(0, config.drop_path_rate, config.depth).tolist()
        self.blocks = nn.ModuleList(
            Block(dim, config.num_heads, config.mlp_ratio, rate) for rate in rates
        )
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.apply(partial(_init_weights, std=INIT_STD * (INIT_DIM / dim) ** 0.5))

    def forward(self, pixels: Tensor | Studies) -> Tensor:
        """Pooled features [B, num_features], or [B, P, num_features] where there are several prefix
        tokens."""
        studies = Studies.of(pixels)
        if self.config.pooling == "token" and self.config.level(self.config.depth - 1) == "study":
            pooled_BPC = self.norm(self._run_blocks(studies, prefix_only=True)[0])
        else:
            prefix_BPC, patches_SKC = self.forward_features(studies)
            pooled_BPC = prefix_BPC
            if self.config.pooling == "dinotxt":
                mean_B1C = mean_by_study(patches_SKC.mean(1, keepdim=True), studies.scans_per_study)
                pooled_BPC = torch.cat([prefix_BPC, mean_B1C.expand_as(prefix_BPC)], dim=-1)
        single = self.config.num_prefix_tokens == 1 and not self.config.keep_token_axis
        return pooled_BPC.squeeze(1) if single else pooled_BPC

    def forward_features(self, pixels: Tensor | Studies) -> tuple[Tensor, Tensor]:
        """Tokens after the final norm: prefix [B, P, C] of each study, patches [S, K, C] of each
        scan."""
        prefix_BPC, patches_SKC = self._run_blocks(Studies.of(pixels), prefix_only=False)
        return self.norm(prefix_BPC), self.norm(patches_SKC)

    def _run_blocks(self, studies: Studies, prefix_only: bool) -> tuple[Tensor, Tensor]:
        """Prefix tokens of the study level and patch tokens after all blocks. With `prefix_only`
        the last block, which attends over the study, leaves the patch tokens as they are."""
        studies.check()
        config, counts = self.config, studies.scans_per_study
        patches_SKC = self._embed(studies)
        scans, kept, _ = patches_SKC.shape
        grid = patches_of(studies.pixels.shape[2:], config.patch_size)
        slices = grid[0] if config.slice_blocks else 1
        num_prefix = config.num_prefix_tokens
        rows: dict[Level, Rows] = {
            "slice": Rows((num_prefix + kept // slices,) * (scans * slices)),
            "scan": Rows((num_prefix + kept,) * scans),
            "study": Rows(counts).scaled(kept, extra=num_prefix),
        }
        level = config.level(0)
        registers = [self.reg_token] if config.reg_tokens else []
        prefix_RPC = torch.cat([self.cls_token, *registers], dim=1).expand(
            len(rows[level].lengths), -1, -1
        )
        x_MC = joined(prefix_RPC, patches_SKC, rows[level])
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if config.level(index) != level:
                prefix_RPC, patches_SKC = parted(x_MC, rows[level], num_prefix, kept)
                prefix_RPC = moved(prefix_RPC, level, config.level(index), slices, counts)
                level = config.level(index)
                x_MC = joined(prefix_RPC, patches_SKC, rows[level])
            if prefix_only and index == config.depth - 1:
                prefix_BPC = block.of_prefix(x_MC, rows[level], num_prefix)
                return prefix_BPC.unflatten(0, (-1, num_prefix)), patches_SKC
            x_MC = block(x_MC, rows[level])
        prefix_RPC, patches_SKC = parted(x_MC, rows[level], num_prefix, kept)
        return moved(prefix_RPC, level, "study", slices, counts), patches_SKC

    def _embed(self, studies: Studies) -> Tensor:
        """Kept patches with their positions in space and among the scans: [S, K, C]."""
        grid = patches_of(studies.pixels.shape[2:], self.config.patch_size)
        kept_SK = studies.keep
        if kept_SK is not None and self.config.finest == "slice":
            first = torch.arange(grid[0], device=kept_SK.device)[:, None] * (grid[1] * grid[2])
            kept_SK = (kept_SK.unflatten(0, (-1, grid[0])) + first).flatten(1)
        tokens_SKC = self.patch_embed(studies.pixels, kept_SK)
        space_TC = resize_spatial(self.spatial_posemb, grid).flatten(1, 3)[0]
        tokens_SKC = tokens_SKC + (space_TC if kept_SK is None else space_TC[kept_SK])
        if self.config.max_num_scans > 1:
            tokens_SKC = tokens_SKC + self._scan_positions(studies)
        return tokens_SKC

    def _scan_positions(self, studies: Studies) -> Tensor:
        """[S, 1, C]. Rows that are given, as training draws them; else the first ones, interpolated
        where too few."""
        if studies.scan_positions is not None:
            return self.sequential_posemb[0, studies.scan_positions].unsqueeze(1)
        counts = studies.scans_per_study
        table = self.sequential_posemb
        tables = {count: resize_sequential(table, count)[0, :count] for count in set(counts)}
        return torch.cat([tables[count] for count in counts]).unsqueeze(1)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """open_clip removes a timm classifier this way; there is none."""
        if num_classes or global_pool not in (None, "", "token"):
            raise ValueError(
                "this trunk has no classifier, and its pooling is part of its name: leave "
                "timm_pool 'token'"
            )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        if enable:
            raise ValueError("activation checkpointing is not built into this encoder yet")

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups by name, for open_clip's locking of towers."""
        return {
            "stem": r"^cls_token|reg_token|posemb|patch_embed",
            "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))],
        }


def _init_weights(module: nn.Module, std: float) -> None:
    """Linear layers as in timm's ViT; the patch embedding by the number of its voxels."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv3d):
        nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
