"""Checkpoints: whole or not at all, only the newest kept, readable by evaluation."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
import torch

from study.errors import UserError
from study.sections import Train
from train import checkpoint
from train.checkpoint import Place, load_model, newest_checkpoint
from train.clip import create_model
from train.optim import adamw

SETTINGS = Train(model=made.MODEL, steps=9)


@pytest.fixture(scope="module")
def parts() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model, _ = create_model(made.MODEL, made.GRID)
    return model, adamw(model, 1e-3, 0.1, 0.98)


def write(run: Path, parts: tuple[torch.nn.Module, torch.optim.Optimizer], step: int) -> Path:
    return checkpoint.save(run, *parts, Place(step), SETTINGS, made.GRID, "data", keep=2)


def test_keeps_the_newest_and_loads_for_evaluation(
    tmp_path: Path, parts: tuple[torch.nn.Module, torch.optim.Optimizer]
) -> None:
    written = [write(tmp_path, parts, step) for step in (1, 2, 10)]
    assert [path.exists() for path in written] == [False, True, True]
    assert newest_checkpoint(tmp_path) == written[-1]
    loaded = load_model(written[-1])
    assert (loaded.step, loaded.grid, loaded.settings) == (10, made.GRID, SETTINGS)
    assert not loaded.model.training
    state = parts[0].state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.model.state_dict().items())


def test_a_write_that_is_cut_off_leaves_the_old_one(
    tmp_path: Path,
    parts: tuple[torch.nn.Module, torch.optim.Optimizer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = write(tmp_path, parts, 1)

    def full_disk(content: object, stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, parts, 2)
    assert newest_checkpoint(tmp_path) == before
    assert load_model(before).step == 1


def test_wrong_files_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train first"):
        newest_checkpoint(tmp_path)
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_model(tmp_path / "none.pt")
    other = tmp_path / "other.pt"
    other.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_model(other)
    torch.save({"epoch": 1}, other)
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_model(other)
