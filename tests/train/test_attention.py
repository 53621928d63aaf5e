"""Attention in rows of different lengths: routes against each other, rows, levels, compile."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from train import attention
from train.attention import Attention, Block, Rows, attend, concatenate, first_tokens
from train.levels import joined, moved, parted

LENGTHS = (1, 3, 3, 7, 2)
DIM, HEADS = 16, 2
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=8)


def tokens(num: int, dim: int = DIM) -> Tensor:
    return torch.randn(num, dim, generator=torch.Generator().manual_seed(5))


def loop_over_offsets(
    q: Tensor, k: Tensor, v: Tensor, q_at: Tensor, k_at: Tensor, q_most: int, k_most: int
) -> Tensor:
    """What varlen attention does, row by row."""
    assert q_most == int(q_at.diff().max())
    assert k_most == int(k_at.diff().max())
    at = zip(q_at[:-1], q_at[1:], k_at[:-1], k_at[1:], strict=True)
    return torch.cat([attend(q[None, a:b], k[None, c:d], v[None, c:d])[0] for a, b, c, d in at])


def with_offsets(rows: Rows) -> Rows:
    """Rows as they are on CUDA in half precision."""
    edges = torch.tensor([0, *rows.lengths]).cumsum(0).int()
    return Rows(rows.runs, rows.num_rows, rows.longest, edges)


@given(lengths)
def test_rows_are_cut_into_runs_without_a_loss(these: list[int]) -> None:
    rows, flat = Rows.of(these), torch.arange(sum(these))
    assert rows.lengths == these
    assert (rows.num_rows, rows.longest) == (len(these), max(these))
    assert torch.equal(torch.cat([part.flatten() for part in rows.cut(flat)]), flat)
    assert all(a.length != b.length for a, b in zip(rows.runs, rows.runs[1:], strict=False))


@given(lengths, st.integers(1, 3), st.integers(1, 4))
def test_tokens_joined_are_parted_as_they_were(counts: list[int], prefix: int, kept: int) -> None:
    rows = Rows.of(counts).scaled(kept, extra=prefix)
    prefix_RPC = torch.randn(len(counts), prefix, 2)
    patches_SKC = torch.randn(sum(counts), kept, 2)
    flat = joined(prefix_RPC, patches_SKC, rows)
    assert flat.shape == (sum(rows.lengths), 2)
    again = parted(flat, rows, prefix, kept)
    assert torch.equal(again[0], prefix_RPC)
    assert torch.equal(again[1], patches_SKC)
    assert torch.equal(first_tokens(flat, rows, prefix), prefix_RPC)
    assert torch.equal(first_tokens(flat, with_offsets(rows), prefix), prefix_RPC)


@given(lengths, st.integers(1, 4))
def test_copies_on_the_way_down_average_to_themselves(counts: list[int], slices: int) -> None:
    prefix = torch.randint(0, 100, (len(counts), 2, 3)).double()
    down = moved(prefix, "study", "slice", slices, tuple(counts))
    assert down.shape[0] == sum(counts) * slices
    torch.testing.assert_close(moved(down, "slice", "study", slices, tuple(counts)), prefix)


def test_rows_of_any_lengths_equal_padded_attention_with_a_mask() -> None:
    """Forward and backward, by the loop and by offsets, whole rows and first tokens only."""
    torch.manual_seed(0)
    module, rows = Attention(DIM, HEADS), Rows.of(LENGTHS)
    most = max(LENGTHS)
    inside = torch.arange(most) < torch.tensor(LENGTHS)[:, None]

    def padded(flat: Tensor) -> Tensor:
        full = flat.new_zeros(len(LENGTHS), most, DIM)
        full[inside] = flat
        q, k, v = module.qkv(full).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mask = inside[:, None, None, :]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return module.proj(out.transpose(1, 2).flatten(2))[inside]

    def gradients(output: Tensor, flat: Tensor) -> list[Tensor]:
        cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        return list(torch.autograd.grad((output * cotangent).sum(), [flat, *module.parameters()]))

    flat = tokens(sum(LENGTHS)).requires_grad_()
    expected = padded(flat)
    ours = module(flat, rows)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    pairs = zip(gradients(ours, flat), gradients(expected, flat), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    firsts = module.of_prefix(flat, rows, 1)
    expected_firsts = first_tokens(padded(flat), rows, 1).flatten(0, 1)
    torch.testing.assert_close(firsts, expected_firsts, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("only_prefix", [0, 1])
def test_blocks_by_offsets_equal_blocks_by_runs(
    monkeypatch: pytest.MonkeyPatch, only_prefix: int
) -> None:
    """All that surrounds varlen attention, which itself is there on CUDA only."""
    monkeypatch.setattr(attention, "attend_varlen", loop_over_offsets)
    torch.manual_seed(0)
    block, rows = Block(DIM, HEADS, 2.0), Rows.of(LENGTHS)
    gates = torch.rand(2, rows.num_rows)
    turn = tokens(sum(LENGTHS), DIM // HEADS)
    results = []
    for way in (rows, with_offsets(rows)):
        flat = tokens(sum(LENGTHS)).requires_grad_()
        output = block(flat, way, turn, gates, only_prefix)
        gradients = torch.autograd.grad(output.square().sum(), [flat, *block.parameters()])
        results.append([output, *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen attention needs CUDA")
@pytest.mark.parametrize("only_prefix", [0, 1])
def test_varlen_attention_equals_the_loop_on_cuda(only_prefix: int) -> None:
    """In bfloat16, forward and backward, within what bfloat16 resolves."""
    torch.manual_seed(0)
    device, long = torch.device("cuda"), (5, 130, 130, 700, 64)
    block, rows = Block(128, 2, 2.0).to(device, torch.bfloat16), Rows.of(long)
    routed = rows.routed(device, torch.bfloat16)
    assert routed.offsets is not None
    assert rows.routed(device, torch.float32).offsets is None
    results = []
    for way in (rows, routed):
        flat = tokens(sum(long), 128).to(device, torch.bfloat16).requires_grad_()
        output = block(flat, way, None, None, only_prefix)
        gradients = torch.autograd.grad(output.float().square().sum(), [flat, *block.parameters()])
        results.append([output, *gradients])
    for one, other in zip(*results, strict=True):
        error = (one.float() - other.float()).norm() / other.float().norm()
        assert error < 2e-2


def test_the_route_is_chosen_by_device_and_precision() -> None:
    """Equal rows need no offsets anywhere; the CPU and float32 have no varlen attention."""
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert Rows.of((3, 3)).routed(cuda, torch.bfloat16).offsets is None
    assert Rows.of(LENGTHS).routed(cpu, torch.bfloat16).offsets is None
    assert Rows.of(LENGTHS).routed(cuda, torch.float32).offsets is None


def compiled_equals_eager(backend: str, *cases: Rows) -> None:
    """Blocks in a chain, the last of which gives only prefix tokens."""
    torch.manual_seed(0)
    torch._dynamo.reset()
    blocks = [Block(DIM, HEADS, 2.0) for _ in range(2)]
    originals = copy.deepcopy(blocks)
    for block in blocks:
        block.compile(fullgraph=True, backend=backend)
    for rows in cases:
        num = sum(rows.lengths)
        inputs = (rows, tokens(num, DIM // HEADS), torch.rand(2, rows.num_rows))
        results = []
        for first, last in (blocks, originals):
            flat = tokens(num).requires_grad_()
            output = last(first(flat, *inputs), *inputs, only_prefix=1)
            gradients = torch.autograd.grad(output.square().sum(), [flat, *first.parameters()])
            results.append([output, *gradients])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_block_is_one_graph() -> None:
    """fullgraph: a break in it would be an error. No compiler of the machine is needed."""
    equal = [Rows.equal(4, 5), Rows.equal(3, 8), Rows.equal(6, 2)]
    compiled_equals_eager("aot_eager", Rows.of(LENGTHS), *equal)


def test_a_block_with_varlen_attention_compiles_once_for_rows_of_any_lengths() -> None:
    """Traced, not run: varlen attention itself is there on CUDA only."""
    torch._dynamo.reset()
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph.print_readable(print_output=False))
        return lambda *args: (next(x for x in args if getattr(x, "shape", ())[-1:] == (DIM,)),)

    block = Block(DIM, HEADS, 2.0)
    block.compile(fullgraph=True, backend=backend)
    for these in ([1, 3, 7], [2, 2, 5, 1], [9, 4, 4], [3, 8, 1, 1, 6], [2, 11]):
        rows = with_offsets(Rows.of(these))
        block(tokens(sum(these)), rows, None, torch.ones(2, len(these)))
    assert all("varlen_attn" in graph for graph in graphs)
    assert len(graphs) <= 2  # the first lengths, then any


@pytest.mark.slow
@pytest.mark.skipif("DICOM2CLIP_SOAK" not in os.environ, reason="half a minute: make soak")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_block_equals_itself() -> None:
    compiled_equals_eager("inductor", Rows.equal(4, 5))


def test_one_part_is_not_copied() -> None:
    part = tokens(3)
    assert concatenate([part]) is part
