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
them, P prefix tokens, C channels, E of a head, R rows of a level, M tokens in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from train.attention import LAYER_NORM_EPS, Block, Rows
from train.levels import joined, mean_by_study, moved, parted
from train.patches import PatchEmbedding
from train.positions import resize_sequential, resize_spatial, sincos, spatial_table
from train.rotary import no_turn, turns
from train.variant import EncoderConfig, Grid, Level, patches_of

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
    K] indices within the scan or slice."""
    scan_positions: Tensor | None = None
    """[S] rows of the table of scan positions; None takes 0, 1, 2, ... in every study."""

    @classmethod
    def of(
        cls,
        pixels: Tensor | Studies,
        keep: Tensor | None = None,
        scan_positions: Tensor | None = None,
    ) -> Studies:
        """Accepts [B, N, 1, D, H, W] too; its `scan_positions` may be [N], for every study the
        same."""
        if isinstance(pixels, Studies):
            return pixels
        if pixels.ndim != 6 or pixels.shape[2] != 1:
            raise ValueError(
                f"studies must be an array [B, N, 1, D, H, W], not of shape {tuple(pixels.shape)}"
            )
        studies, scans = pixels.shape[:2]
        if scan_positions is not None and scan_positions.shape == (scans,):
            scan_positions = scan_positions.repeat(studies)
        return cls(pixels.flatten(0, 1), (scans,) * studies, keep, scan_positions)

    def to(self, device: torch.device) -> Studies:
        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        pixels = self.pixels.to(device, non_blocking=True)
        return Studies(pixels, self.scans_per_study, moved(self.keep), moved(self.scan_positions))

    def check(self, config: EncoderConfig) -> None:
        """ValueError for what `config` cannot encode. Values are looked at on the CPU only: a look
        at the GPU's would wait for it."""
        counts = self.scans_per_study
        if not counts or min(counts) < 1:
            raise ValueError(
                f"every study needs at least one scan; found scans_per_study {counts}: leave "
                "studies without scans out of the batch"
            )
        if self.pixels.ndim != 5 or sum(counts) != self.pixels.shape[0]:
            raise ValueError(
                f"pixels of shape {tuple(self.pixels.shape)} are not the {sum(counts)} scans "
                f"[S, 1, D, H, W] that scans_per_study {counts} promises"
            )
        grid, scans = patches_of(self.pixels.shape[2:], config.patch_size), sum(counts)
        if self.keep is not None:
            _check_keep(self.keep, config, scans, grid)
        if self.scan_positions is not None:
            _check_positions(self.scan_positions, config, scans)


def _check_keep(keep: Tensor, config: EncoderConfig, scans: int, grid: Grid) -> None:
    slices = grid[0] if config.finest == "slice" else 1
    patches = grid[0] * grid[1] * grid[2] // slices
    if keep.ndim != 2 or keep.shape[0] != scans * slices or not 1 <= keep.shape[1] <= patches:
        raise ValueError(
            f"keep must be [{scans * slices}, K] with K of 1 to {patches}: this encoder's finest "
            f"blocks attend within a {config.finest}, and every {config.finest} must keep equally "
            f"many patches, or tokens of different ones would mix; found {tuple(keep.shape)}"
        )
    if keep.device.type == "cpu" and not 0 <= int(keep.min()) <= int(keep.max()) < patches:
        raise ValueError(
            f"keep holds indices of patches within a {config.finest}, 0 to {patches - 1}; found "
            f"{int(keep.min())} to {int(keep.max())}"
        )


def _check_positions(positions_S: Tensor, config: EncoderConfig, scans: int) -> None:
    rows = config.max_num_scans
    if rows <= 1:
        raise ValueError(
            "scan_positions are given, but this encoder has no scan positions (max_num_scans "
            f"{rows}): leave them out"
        )
    if positions_S.shape != (scans,):
        raise ValueError(
            f"scan_positions must be [{scans}], one for every scan; found "
            f"{tuple(positions_S.shape)}"
        )
    if (
        positions_S.device.type == "cpu"
        and not 0 <= int(positions_S.min()) <= int(positions_S.max()) < rows
    ):
        raise ValueError(
            f"scan_positions {positions_S.tolist()} are not all rows of the table, 0 to "
            f"{rows - 1} (max_num_scans {rows}): take fewer scans of a study, or leave "
            "scan_positions out to have the table interpolated"
        )


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
        self.blocks = nn.ModuleList(
            Block(dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.drop_path_rates = torch.linspace(
            0, config.drop_path_rate, config.depth, device="cpu"
        ).tolist()
        self.checkpoints_activations = False
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.apply(partial(_init_weights, std=INIT_STD * (INIT_DIM / dim) ** 0.5))

    def forward(
        self,
        pixels: Tensor | Studies,
        keep: Tensor | None = None,
        scan_positions: Tensor | None = None,
    ) -> Tensor:
        """Pooled features [B, num_features], or [B, P, num_features] where there are several prefix
        tokens. `keep` and `scan_positions` go with an array; see `Studies`."""
        studies = Studies.of(pixels, keep, scan_positions)
        if self.config.pooling == "token":
            pooled_BPC = self.norm(self._run_blocks(studies, prefix_only=True)[0])
        else:
            prefix_BPC, patches_SKC = self.forward_features(studies)
            mean_B1C = mean_by_study(patches_SKC.mean(1, keepdim=True), studies.scans_per_study)
            pooled_BPC = torch.cat([prefix_BPC, mean_B1C.expand_as(prefix_BPC)], dim=-1)
        single = self.config.num_prefix_tokens == 1 and not self.config.keep_token_axis
        return pooled_BPC.squeeze(1) if single else pooled_BPC

    def forward_features(
        self,
        pixels: Tensor | Studies,
        keep: Tensor | None = None,
        scan_positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens after the final norm: prefix [B, P, C] of each study, patches [S, K, C] of each
        scan."""
        studies = Studies.of(pixels, keep, scan_positions)
        prefix_BPC, patches_SKC = self._run_blocks(studies, prefix_only=False)
        return self.norm(prefix_BPC), self.norm(patches_SKC)

    def _run_blocks(self, studies: Studies, prefix_only: bool) -> tuple[Tensor, Tensor]:
        """Prefix tokens of the study level and patch tokens after all blocks. With `prefix_only`
        the last block leaves the patch tokens as they are."""
        studies.check(self.config)
        config, counts = self.config, studies.scans_per_study
        grid = patches_of(studies.pixels.shape[2:], config.patch_size)
        kept_SK = self._kept(studies, grid)
        patches_SKC = self._embed(studies, grid, kept_SK)
        kept, num_prefix = patches_SKC.shape[1], config.num_prefix_tokens
        slices = grid[0] if config.slice_blocks else 1
        rows = _rows_of_levels(counts, slices, kept, num_prefix)
        rows["study"] = rows["study"].routed(patches_SKC.device, self._attention_dtype())
        turns_of = self._turns(rows, grid, kept_SK, sum(counts)) if config.rope else {}
        level = config.level(0)
        registers = [self.reg_token] if config.reg_tokens else []
        prefix_RPC = torch.cat([self.cls_token, *registers], dim=1).expand(
            rows[level].num_rows, -1, -1
        )
        x_MC = joined(prefix_RPC, patches_SKC, rows[level])
        for index, block in enumerate(self.blocks):
            if config.level(index) != level:
                prefix_RPC, patches_SKC = parted(x_MC, rows[level], num_prefix, kept)
                prefix_RPC = moved(prefix_RPC, level, config.level(index), slices, counts)
                level = config.level(index)
                x_MC = joined(prefix_RPC, patches_SKC, rows[level])
            only = num_prefix if prefix_only and index == config.depth - 1 else 0
            gates_2R = self._gates(index, rows[level], x_MC)
            inputs = (x_MC, rows[level], turns_of.get(level), gates_2R, only)
            if self.checkpoints_activations and torch.is_grad_enabled():
                # The random state needs no keeping: a block draws nothing, its gates are given.
                x_MC = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
            else:
                x_MC = block(*inputs)
        if prefix_only:
            prefix_RPC = x_MC.unflatten(0, (-1, num_prefix))
        else:
            prefix_RPC, patches_SKC = parted(x_MC, rows[level], num_prefix, kept)
        return moved(prefix_RPC, level, "study", slices, counts), patches_SKC

    def _kept(self, studies: Studies, grid: Grid) -> Tensor | None:
        """Kept patches counted within their scan: [S, K]."""
        if studies.keep is None or self.config.finest != "slice":
            return studies.keep
        first = torch.arange(grid[0], device=studies.keep.device)[:, None] * (grid[1] * grid[2])
        return (studies.keep.unflatten(0, (-1, grid[0])) + first).flatten(1)

    def _embed(self, studies: Studies, grid: Grid, kept_SK: Tensor | None) -> Tensor:
        """Kept patches with their positions in space and among the scans: [S, K, C]."""
        tokens_SKC = self.patch_embed(studies.pixels, kept_SK)
        space_TC = resize_spatial(self.spatial_posemb, grid).flatten(1, 3)[0]
        tokens_SKC = tokens_SKC + (space_TC if kept_SK is None else space_TC[kept_SK])
        if self.config.max_num_scans > 1:
            tokens_SKC = tokens_SKC + self._scan_positions(studies)
        return tokens_SKC

    def _turns(
        self, rows: dict[Level, Rows], grid: Grid, kept_SK: Tensor | None, scans: int
    ) -> dict[Level, Tensor]:
        """Rotary cosines and sines of the tokens of each level that has blocks: [M, E]."""
        config, device = self.config, self.cls_token.device
        of_patches_TE = turns(grid, config.head_dim, device)
        of_patches_SKE = (
            of_patches_TE.expand(scans, -1, -1) if kept_SK is None else of_patches_TE[kept_SK]
        )
        none_E = no_turn(config.head_dim, device)
        return {
            level: joined(
                none_E.expand(rows[level].num_rows, config.num_prefix_tokens, -1),
                of_patches_SKE,
                rows[level],
            )
            for level in config.levels
        }

    def _gates(self, index: int, rows: Rows, like: Tensor) -> Tensor | None:
        """Drop path, in training: what multiplies the two branches of every row, [2, R]."""
        rate = self.drop_path_rates[index]
        if not self.training or rate == 0:
            return None
        return like.new_empty(2, rows.num_rows).bernoulli_(1 - rate).div_(1 - rate)

    def _attention_dtype(self) -> torch.dtype:
        device = self.cls_token.device.type
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        return self.cls_token.dtype

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
        """Activation checkpointing: a block keeps its input alone, and runs again in backward."""
        self.checkpoints_activations = enable

    def compile_blocks(self, **options: Any) -> None:
        """Compile each block by itself, in place; names of weights stay. `options` are those of
        torch.compile."""
        for block in self.blocks:
            block.compile(fullgraph=True, **options)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups by name, for open_clip's locking of towers."""
        return {
            "stem": r"^cls_token|reg_token|posemb|patch_embed",
            "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))],
        }


def _rows_of_levels(
    counts: tuple[int, ...], slices: int, kept: int, num_prefix: int
) -> dict[Level, Rows]:
    scans = sum(counts)
    return {
        "slice": Rows.equal(scans * slices, num_prefix + kept // slices),
        "scan": Rows.equal(scans, num_prefix + kept),
        "study": Rows.of(counts).scaled(kept, extra=num_prefix),
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
