"""Tokens between the levels at which blocks attend: slice, scan, study.

In: patch tokens of every scan, prefix tokens of every row of a level. Out: the flat buffer that a
block works on, and back; prefix tokens of another level.
The one idea: only prefix tokens change between levels. They are averaged on the way up and copied
on the way down, over each study's own scans.

Shapes: M tokens in all, R rows of a level, P prefix tokens, S scans, K patch tokens of a scan, C
channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from train.attention import Rows, concatenate
from train.variant import Level


def joined(prefix_RPC: Tensor, patches_SKC: Tensor, rows: Rows) -> Tensor:
    """The flat buffer [M, C] in which every row's prefix tokens stand before its patch tokens."""
    num_prefix = prefix_RPC.shape[1]
    prefix = prefix_RPC.split([run.rows for run in rows.runs])
    patches = rows.scaled(1, extra=-num_prefix).cut(patches_SKC.flatten(0, 1))
    return concatenate(
        [torch.cat(pair, dim=1).flatten(0, 1) for pair in zip(prefix, patches, strict=True)]
    )


def parted(x_MC: Tensor, rows: Rows, num_prefix: int, kept: int) -> tuple[Tensor, Tensor]:
    """The inverse of `joined`: prefix tokens of each row, patch tokens of each scan."""
    parts = [part.split((num_prefix, part.shape[1] - num_prefix), dim=1) for part in rows.cut(x_MC)]
    patches = concatenate([patches.flatten(0, 1) for _, patches in parts])
    return concatenate([prefix for prefix, _ in parts]), patches.unflatten(0, (-1, kept))


def moved(
    prefix_RPC: Tensor, start: Level, end: Level, slices: int, counts: tuple[int, ...]
) -> Tensor:
    """Prefix tokens from one level to another: averaged on the way up, copied on the way down."""
    if start == "slice" and end != "slice":
        prefix_RPC, start = prefix_RPC.unflatten(0, (-1, slices)).mean(1), "scan"
    if start == "scan" and end == "study":
        return mean_by_study(prefix_RPC, counts)
    if start == "study" and end != "study":
        runs = Rows.of(counts).runs
        parts = zip(prefix_RPC.split([run.rows for run in runs]), runs, strict=True)
        prefix_RPC = concatenate([_repeated(part, run.length) for part, run in parts])
        start = "scan"
    return _repeated(prefix_RPC, slices) if (start, end) == ("scan", "slice") else prefix_RPC


def _repeated(prefix_RPC: Tensor, times: int) -> Tensor:
    return prefix_RPC.unsqueeze(1).expand(-1, times, -1, -1).flatten(0, 1)


def mean_by_study(x_SPC: Tensor, counts: tuple[int, ...]) -> Tensor:
    return concatenate([part.mean(1) for part in Rows.of(counts).cut(x_SPC)])
