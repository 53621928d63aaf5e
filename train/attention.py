"""Attention within rows of a flat token buffer, and the transformer block around it.

In: tokens of many rows one after another, [M, C], and how they are cut into rows. Out: the same
shape.
The one idea: everything but attention works on single tokens, so rows of different lengths need
neither padding nor masks. Neighbouring rows of one length form a run; a run is a view of the buffer
and takes plain scaled dot-product attention. Equal rows are the case of one run, without any copy;
several runs take one call of varlen attention where there is one (CUDA, half precision), else a
loop. A block draws nothing and reads nothing of its surroundings: it compiles as one graph, and is
the same when activation checkpointing runs it again.
Module names are timm's, as in HLIP's checkpoints.

Shapes: M tokens in all, C channels, R rows, T tokens of a row, P prefix tokens, S = R * P of them
in all, H heads, E channels of a head.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.rotary import rotate

LAYER_NORM_EPS = 1e-6
"""As timm's ViT has it, and HLIP with it."""

FLASH_CAPABILITY = (8, 0)
"""Of NVIDIA GPUs from Ampere on."""
ONE_SPLIT = None if torch.version.hip else 1
"""A row's result does not depend on the others of its batch. (AMD's kernel takes no such wish.)"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Neighbouring rows of one length."""

    rows: int
    length: int
    """Items of a row."""


@dataclass(frozen=True, eq=False)
class Rows:
    """How a flat buffer is cut into rows, in order."""

    runs: tuple[Run, ...]
    """One for equal rows. Sorting rows by length beforehand makes them few."""
    num_rows: int
    longest: int
    offsets: Tensor | None = None
    """int32 [R + 1], on the device of the tokens: where rows begin, and where the last one ends.
    Only where varlen attention takes them; what is then done with rows depends on no run, so that
    a compiled block serves rows of any lengths."""

    @classmethod
    def of(cls, lengths: Iterable[int]) -> Rows:
        runs = tuple(Run(sum(1 for _ in group), length) for length, group in groupby(lengths))
        return cls(runs, sum(run.rows for run in runs), max(run.length for run in runs))

    @classmethod
    def equal(cls, num_rows: int, length: int) -> Rows:
        return cls((Run(num_rows, length),), num_rows, length)

    @property
    def lengths(self) -> list[int]:
        return [run.length for run in self.runs for _ in range(run.rows)]

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
        runs = tuple(Run(run.rows, extra + factor * run.length) for run in self.runs)
        return Rows(runs, self.num_rows, extra + factor * self.longest)

    def routed(self, device: torch.device, dtype: torch.dtype) -> Rows:
        """The same rows, with offsets where varlen attention can take them: several runs, half
        precision, a GPU that flash attention is made for."""
        half = dtype in (torch.float16, torch.bfloat16)
        if len(self.runs) == 1 or not half or not _has_flash(device):
            _log_route("equal" if len(self.runs) == 1 else "loop", str(device.type), str(dtype))
            return self
        _log_route("varlen", str(device.type), str(dtype))
        offsets = torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32).pin_memory()
        return replace(self, offsets=offsets.to(device, non_blocking=True))


@cache
def _has_flash(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= FLASH_CAPABILITY


@cache
def _log_route(route: str, device: str, dtype: str) -> None:
    """Once a route."""
    does = {
        "equal": "equal rows: scaled dot-product attention",
        "varlen": "rows of different lengths: varlen attention",
        "loop": "rows of different lengths: scaled dot-product attention, run by run",
    }
    log.info("%s (%s, %s)", does[route], device, dtype)


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

    def forward(self, x_MC: Tensor, rows: Rows, turn_ME: Tensor | None = None) -> Tensor:
        """`turn_ME` rotates queries and keys (train.rotary)."""
        q_MHE, k_MHE, v_MHE = self.qkv(x_MC).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        if turn_ME is not None:
            q_MHE, k_MHE = rotate(q_MHE, turn_ME), rotate(k_MHE, turn_ME)
        if rows.offsets is not None:
            lengths = (rows.offsets, rows.offsets, rows.longest, rows.longest)
            return self.proj(attend_varlen(q_MHE, k_MHE, v_MHE, *lengths))
        parts = zip(rows.cut(q_MHE), rows.cut(k_MHE), rows.cut(v_MHE), strict=True)
        return self.proj(concatenate([attend(q, k, v).flatten(0, 1) for q, k, v in parts]))

    def of_prefix(
        self, x_MC: Tensor, rows: Rows, prefix: int, turn_ME: Tensor | None = None
    ) -> Tensor:
        """As forward, but only for the first `prefix` tokens of every row, which are never rotated:
        [R * P, C]."""
        dim = x_MC.shape[1]
        q_weight, kv_weight = self.qkv.weight.split((dim, 2 * dim))
        q_bias, kv_bias = self.qkv.bias.split((dim, 2 * dim))
        k_MHE, v_MHE = (
            F.linear(x_MC, kv_weight, kv_bias).unflatten(-1, (2, self.num_heads, -1)).unbind(1)
        )
        if turn_ME is not None:
            k_MHE = rotate(k_MHE, turn_ME)
        q_RPC = F.linear(first_tokens(x_MC, rows, prefix), q_weight, q_bias)
        q_RPHE = q_RPC.unflatten(-1, (self.num_heads, -1))
        if rows.offsets is not None:
            every = torch.arange(rows.num_rows + 1, dtype=torch.int32, device=x_MC.device) * prefix
            lengths = (every, rows.offsets, prefix, rows.longest)
            return self.proj(attend_varlen(q_RPHE.flatten(0, 1), k_MHE, v_MHE, *lengths))
        q_parts = q_RPHE.split([run.rows for run in rows.runs])
        parts = zip(q_parts, rows.cut(k_MHE), rows.cut(v_MHE), strict=True)
        return self.proj(concatenate([attend(q, k, v).flatten(0, 1) for q, k, v in parts]))


def first_tokens(x_MC: Tensor, rows: Rows, prefix: int) -> Tensor:
    """The first `prefix` tokens of every row: [rows, P, C]."""
    if rows.offsets is not None:
        within = torch.arange(prefix, device=x_MC.device)
        return x_MC[rows.offsets[:-1, None] + within]
    return concatenate([part[:, :prefix] for part in rows.cut(x_MC)])


def attend(q_RTHE: Tensor, k_RTHE: Tensor, v_RTHE: Tensor) -> Tensor:
    """Scaled dot-product attention in each of R equal rows: [R, T, H, E] -> [R, T, H * E]."""
    out_RHTE = F.scaled_dot_product_attention(
        q_RTHE.transpose(1, 2), k_RTHE.transpose(1, 2), v_RTHE.transpose(1, 2)
    )
    return out_RHTE.transpose(1, 2).flatten(2)


def attend_varlen(
    q_MHE: Tensor,
    k_MHE: Tensor,
    v_MHE: Tensor,
    q_offsets: Tensor,
    k_offsets: Tensor,
    q_longest: int,
    k_longest: int,
) -> Tensor:
    """The same in rows of any lengths, in one call: [M, H, E] -> [M, H * E]. CUDA only."""
    from torch.nn.attention.varlen import varlen_attn  # imports flash attention's bindings

    out_MHE = varlen_attn(
        q_MHE, k_MHE, v_MHE, q_offsets, k_offsets, q_longest, k_longest, num_splits=ONE_SPLIT
    )
    assert isinstance(out_MHE, Tensor)
    return out_MHE.flatten(1)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x_MC: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x_MC)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(
        self,
        x_MC: Tensor,
        rows: Rows,
        turn_ME: Tensor | None = None,
        gates_2R: Tensor | None = None,
        only_prefix: int = 0,
    ) -> Tensor:
        """`gates_2R` multiplies the two branches of each row: drop path, drawn outside.

        With `only_prefix` = P, only the first P tokens of every row come out, [R * P, C]: all that
        a last block needs when nothing but prefix tokens is pooled. The results are the same, most
        of the work is not done.
        """
        inside_MC = self.norm1(x_MC)
        if only_prefix:
            branch_MC = self.attn.of_prefix(inside_MC, rows, only_prefix, turn_ME)
            x_MC = first_tokens(x_MC, rows, only_prefix).flatten(0, 1)
            rows = Rows.equal(rows.num_rows, only_prefix)
        else:
            branch_MC = self.attn(inside_MC, rows, turn_ME)
        if gates_2R is None:
            x_MC = x_MC + branch_MC
            return x_MC + self.mlp(self.norm2(x_MC))
        x_MC = x_MC + branch_MC * _of_tokens(gates_2R[0], rows, x_MC)
        return x_MC + self.mlp(self.norm2(x_MC)) * _of_tokens(gates_2R[1], rows, x_MC)


def _of_tokens(gate_R: Tensor, rows: Rows, x_MC: Tensor) -> Tensor:
    """Every row's value for each of its tokens: [M, 1]."""
    if rows.offsets is not None:
        lengths = rows.offsets.diff()
        return gate_R.repeat_interleave(lengths, output_size=x_MC.shape[0]).unsqueeze(1)
    gates = gate_R.split([run.rows for run in rows.runs])
    spread = [
        g[:, None].expand(-1, run.length).flatten() for g, run in zip(gates, rows.runs, strict=True)
    ]
    return concatenate(spread).unsqueeze(1)
