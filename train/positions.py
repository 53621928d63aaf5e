"""Fixed sine and cosine tables of positions, and their interpolation to other grids.

In: a grid of patches, or a number of scans. Out: tables that are stored in checkpoints but not
learned. As HLIP makes them: over depth a 1D table, in plane MAE's 2D table (its first half of
channels for w, the second for h), added up; over the scans of a study a 1D table.

Shapes: C channels; GD, GH, GW patches along depth, height, width; N scans.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PERIOD = 10_000.0
"""Longest wavelength over 2 pi (Vaswani et al. 2017)."""


def sincos(num_positions: int, dim: int) -> Tensor:
    """Table [num_positions, dim]: sines, then cosines, of position * PERIOD ** (-i / (dim / 2))."""
    frequencies = PERIOD ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angles = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def spatial_table(grid: tuple[int, int, int], dim: int) -> Tensor:
    """[1, GD, GH, GW, C] for the patches of a scan."""
    depth, height, width = grid
    over_d = sincos(depth, dim)[:, None, None, :]
    over_w = sincos(width, dim // 2)[None, None, :, :].expand(1, height, width, -1)
    over_h = sincos(height, dim // 2)[None, :, None, :].expand(1, height, width, -1)
    return (over_d + torch.cat([over_w, over_h], dim=-1))[None]


def resize_spatial(table: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """The table [1, GD, GH, GW, C] at another grid, trilinear."""
    if table.shape[1:4] == grid:
        return table
    resized = F.interpolate(
        table.permute(0, 4, 1, 2, 3), size=grid, mode="trilinear", align_corners=False
    )
    return resized.permute(0, 2, 3, 4, 1)


def resize_sequential(table: Tensor, num_scans: int) -> Tensor:
    """The table [1, N, C] for more scans than it has rows, linear."""
    if num_scans <= table.shape[1]:
        return table
    return F.interpolate(
        table.transpose(1, 2), size=num_scans, mode="linear", align_corners=False
    ).transpose(1, 2)
