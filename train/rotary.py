"""Rotary positions: queries and keys turned by the place of their patch in its scan.

In: a grid of patches and the channels of a head. Out: cosines and sines of every patch, and vectors
turned by them.
The one idea: the channels of a head are cut in three equal parts of whole pairs, for depth, height
and width; what is left over is not turned. Adjacent channels are a pair, each turned by an angle of
its own. The place is a patch's index along D, H and W of its own scan: which scan of the study it
is in is not encoded. Prefix tokens are not turned. What is not turned has the angle 0, so that one
formula does for all.
Source: V-JEPA 2 (arXiv 2506.09985) in three dimensions, as HLIP's rotary variant has it.

Shapes: GD, GH, GW patches along depth, height, width, T of them; M tokens, H heads, E channels of a
head; tables hold E / 2 cosines, then E / 2 sines.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from train.positions import PERIOD


@cache
def turns(grid: tuple[int, int, int], head_dim: int, device: torch.device) -> Tensor:
    """Of every patch of a scan, counted along D, H, W: [T, E]."""
    # A tensor made in inference mode could not be kept for later training.
    with torch.inference_mode(False):
        pairs = head_dim // 3 // 2
        frequencies = PERIOD ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
        along = [torch.arange(patches, dtype=torch.float64) for patches in grid]
        angles = (torch.cartesian_prod(*along)[:, :, None] * frequencies).flatten(1)
        angles = F.pad(angles, (0, head_dim // 2 - 3 * pairs))
        return torch.cat([angles.cos(), angles.sin()], dim=1).float().to(device)


def no_turn(head_dim: int, device: torch.device) -> Tensor:
    """[E]"""
    half = head_dim // 2
    return torch.cat([torch.ones(half, device=device), torch.zeros(half, device=device)])


def rotate(x_MHE: Tensor, turn_ME: Tensor) -> Tensor:
    """Each pair (a, b) of adjacent channels becomes (a cos - b sin, a sin + b cos)."""
    cos_M1F, sin_M1F = turn_ME.unsqueeze(1).chunk(2, dim=-1)
    a_MHF, b_MHF = x_MHE.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack(
        [a_MHF * cos_M1F - b_MHF * sin_M1F, a_MHF * sin_M1F + b_MHF * cos_M1F], dim=-1
    )
    return turned.flatten(-2).to(x_MHE.dtype)
