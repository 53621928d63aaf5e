"""Attention within rows of a flat token buffer, and the transformer block around it.

In: tokens of many rows one after another, [M, C], and how they are cut into rows. Out: the same
shape.
The one idea: everything but attention works on single tokens, so rows of different lengths need
neither padding nor masks. Neighbouring rows of one length form a run; a run is a view of the buffer
and takes plain scaled dot-product attention. Equal rows are the case of one run, without any copy.
Module names are timm's, as in HLIP's checkpoints.

Shapes: M tokens in all, C channels, R rows, T tokens of a row, P prefix tokens, S = R * P of them
in all, H heads, E channels of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-6
"""As timm's ViT has it, and HLIP with it."""


@dataclass(frozen=True)
class Run:
    """Neighbouring rows of one length."""

    rows: int
    length: int
    """Items of a row."""


@dataclass(frozen=True)
class Rows:
    """How a flat buffer is cut into rows: their lengths, in order."""

    lengths: tuple[int, ...]

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """One run for equal rows. Sorting rows by length beforehand makes runs few."""
        return tuple(Run(sum(1 for _ in group), length) for length, group in groupby(self.lengths))

    def cut(self, flat: Tensor) -> list[Tensor]:
        """The rows of each run as a view: [M, ...] -> [R, T, ...]. (split, not slices: their
        gradients would each fill a buffer of all M with zeros.)"""
        parts = flat.split([run.rows * run.length for run in self.runs])
        return [
            part.unflatten(0, (run.rows, run.length))
            for part, run in zip(parts, self.runs, strict=True)
        ]

    def scaled(self, factor: int, extra: int = 0) -> Rows:
        """Rows of `factor` times the items, and `extra` more."""
        return Rows(tuple(extra + factor * length for length in self.lengths))


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """torch.cat that copies nothing when there is one part."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


class Attention(nn.Module):
    """Multi-head self-attention within rows."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_MC: Tensor, rows: Rows) -> Tensor:
        q_MHE, k_MHE, v_MHE = self.qkv(x_MC).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        parts = zip(rows.cut(q_MHE), rows.cut(k_MHE), rows.cut(v_MHE), strict=True)
        return self.proj(concatenate([attend(q, k, v).flatten(0, 1) for q, k, v in parts]))

    def of_prefix(self, x_MC: Tensor, rows: Rows, prefix: int) -> Tensor:
        """As forward, but only for the first `prefix` tokens of every row: [rows * P, C]."""
        dim = x_MC.shape[1]
        q_weight, kv_weight = self.qkv.weight.split((dim, 2 * dim))
        q_bias, kv_bias = self.qkv.bias.split((dim, 2 * dim))
        k_MHE, v_MHE = (
            F.linear(x_MC, kv_weight, kv_bias).unflatten(-1, (2, self.num_heads, -1)).unbind(1)
        )
        q_RPC = F.linear(first_tokens(x_MC, rows, prefix), q_weight, q_bias)
        q_parts = q_RPC.unflatten(-1, (self.num_heads, -1)).split([run.rows for run in rows.runs])
        parts = zip(q_parts, rows.cut(k_MHE), rows.cut(v_MHE), strict=True)
        return self.proj(concatenate([attend(q, k, v).flatten(0, 1) for q, k, v in parts]))


def first_tokens(x_MC: Tensor, rows: Rows, prefix: int) -> Tensor:
    """The first `prefix` tokens of every row: [rows, P, C]."""
    return concatenate([part[:, :prefix] for part in rows.cut(x_MC)])


def attend(q_RTHE: Tensor, k_RTHE: Tensor, v_RTHE: Tensor) -> Tensor:
    """Scaled dot-product attention in each of R equal rows: [R, T, H, E] -> [R, T, H * E]."""
    out_RHTE = F.scaled_dot_product_attention(
        q_RTHE.transpose(1, 2), k_RTHE.transpose(1, 2), v_RTHE.transpose(1, 2)
    )
    return out_RHTE.transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x_MC: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x_MC)))


class Block(nn.Module):
    """Pre-norm transformer block. Drop path drops a branch for whole rows, in training only."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x_MC: Tensor, rows: Rows) -> Tensor:
        x_MC = x_MC + self._kept(self.attn(self.norm1(x_MC), rows), rows)
        return x_MC + self._kept(self.mlp(self.norm2(x_MC)), rows)

    def of_prefix(self, x_MC: Tensor, rows: Rows, prefix: int) -> Tensor:
        """As forward, but only the first `prefix` tokens of every row come out: all that a last
        block needs when nothing but prefix tokens is pooled. The results are the same, most of the
        work is not done."""
        short = Rows((prefix,) * len(rows.lengths))
        x_SC = first_tokens(x_MC, rows, prefix).flatten(0, 1)
        x_SC = x_SC + self._kept(self.attn.of_prefix(self.norm1(x_MC), rows, prefix), short)
        return x_SC + self._kept(self.mlp(self.norm2(x_SC)), short)

    def _kept(self, branch_MC: Tensor, rows: Rows) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch_MC
        keep = 1 - self.drop_path
        kept_R = branch_MC.new_empty(len(rows.lengths)).bernoulli_(keep) / keep
        lengths = torch.tensor(rows.lengths, device=branch_MC.device)
        return branch_MC * kept_R.repeat_interleave(
            lengths, output_size=branch_MC.shape[0]
        ).unsqueeze(1)
