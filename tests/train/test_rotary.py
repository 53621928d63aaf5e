"""Rotary positions: what they leave as it is, and what they make of distances."""

from __future__ import annotations

import pytest
import torch

from train.positions import PERIOD
from train.rotary import no_turn, rotate, turns

CPU = torch.device("cpu")
GRID = (3, 4, 5)


def place(d: int, h: int, w: int) -> int:
    return (d * GRID[1] + h) * GRID[2] + w


@pytest.mark.parametrize("head_dim", [6, 16, 64])
def test_products_depend_on_distances_alone(head_dim: int) -> None:
    table = turns(GRID, head_dim, CPU)
    query, key = torch.randn(2, 1, head_dim).double()
    turned_q = rotate(query.expand(len(table), 1, -1), table)
    turned_k = rotate(key.expand(len(table), 1, -1), table)
    products = (turned_q * turned_k.transpose(0, 1)).sum(-1)
    by_distance = products[place(0, 0, 0), place(1, 2, 3)]
    torch.testing.assert_close(products[place(1, 1, 1), place(2, 3, 4)], by_distance)
    torch.testing.assert_close(turned_q.norm(dim=-1), query.norm().expand(len(table), 1))
    assert (products[0] - products[0, 0]).abs().max() > 1e-3


def test_channels_left_over_and_prefix_tokens_are_not_turned() -> None:
    x = torch.randn(60, 2, 64)
    turned = rotate(x, turns(GRID, 64, CPU))
    assert torch.equal(turned[..., 60:], x[..., 60:])
    assert torch.equal(rotate(x, no_turn(64, CPU).expand(60, -1)), x)


def test_a_pair_of_each_axis_turns_by_index_times_frequency() -> None:
    """Depth first, then height, then width; the second pair of each slower by the period."""
    table = turns(GRID, 16, CPU)[place(2, 3, 4)]
    slow = PERIOD**-0.5
    angles = torch.tensor([2, 2 * slow, 3, 3 * slow, 4, 4 * slow, 0, 0])
    torch.testing.assert_close(table, torch.cat([angles.cos(), angles.sin()]))


def test_a_table_made_in_inference_serves_training() -> None:
    turns.cache_clear()
    with torch.inference_mode():
        turns(GRID, 16, CPU)
    x = torch.randn(60, 1, 16, requires_grad=True)
    rotate(x, turns(GRID, 16, CPU)).sum().backward()
    assert x.grad is not None
