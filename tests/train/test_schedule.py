"""Learning rate, parameter groups and cadences."""

from __future__ import annotations

from itertools import pairwise

import made
import pytest

from study.errors import UserError
from train.cadence import Cadence, Progress
from train.clip import create_model
from train.optim import adamw, learning_rate_at


def test_warm_up_then_cosine_to_zero() -> None:
    rates = [learning_rate_at(step, steps=12, warmup_steps=4, peak=1.0) for step in range(12)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert learning_rate_at(12, steps=12, warmup_steps=4, peak=1.0) == pytest.approx(0)


def test_only_matrices_decay() -> None:
    model, _ = create_model(made.MODEL.model_copy(update={"max_num_scans": 4}), made.GRID)
    decayed, others = (
        {id(p) for p in group["params"]} for group in adamw(model, 1e-3, 0.2, 0.98).param_groups
    )
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[i] for i in others} >= {"visual.trunk.cls_token", "logit_scale"}
    assert "text.positional_embedding" in {names[i] for i in others}
    assert "visual.trunk.patch_embed.proj.weight" in {names[i] for i in decayed}
    fixed = {name for name in names.values() if name.endswith("posemb")}
    assert len(decayed | others) == len(names) - len(fixed)


@pytest.mark.parametrize(
    ("text", "due_at"),
    [("3 steps", [3, 6, 9]), ("1 epoch", [5]), ("0.5 epochs", [3, 5, 8]), ("1 min", [6])],
)
def test_cadences_count_multiples_wherever_a_session_begins(text: str, due_at: list[int]) -> None:
    """Ten steps of ten seconds, five an epoch."""

    def at(step: int) -> Progress:
        return Progress(steps=step, epochs=step / 5, seconds=step * 10)

    for first in (0, 2):
        cadence = Cadence(text, "key", at(first))
        assert [s for s in range(first + 1, 10) if cadence.due(at(s))] == due_at


@pytest.mark.parametrize("text", ["", "5", "steps", "-1 steps", "3 parsecs", "nan h"])
def test_other_cadences_are_refused_by_the_name_of_their_key(text: str) -> None:
    with pytest.raises(UserError, match=r"train\.x: .* '500 steps', '30 min' or '1 epoch'"):
        Cadence(text, "train.x", Progress())
