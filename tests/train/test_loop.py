"""A training from shards to checkpoint: exact resumption, signals, guards, wrong input."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
import torch
from rich.console import Console

from study.errors import EXIT_RESUMABLE, UserError
from study.sections import Model, TrainSpeed
from train import loop
from train.checkpoint import checkpoints, load_model
from train.loop import train
from train.step import NotFinite, StepResult, train_step

FIGURES = ("step", "epoch", "loss", "scale", "learning_rate", "grad_norm")
"""What of a metrics line does not depend on the clock."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train")
    studies = [made.study(i, sentences=i % 7 != 0) for i in range(24)]
    made.dataset(path / "dataset", studies)
    return path


def run(folder: Path, name: str, stop_after: int | None = None, **settings: object) -> Any:
    """Train in RUN/name; returns the result and what was said."""
    console = Console(file=StringIO(), width=200)
    pipeline = made.pipeline(folder, name, **settings)
    result = train(pipeline, console=console, stop_after=stop_after)
    return result, console.file.getvalue()  # type: ignore[attr-defined]


def curve(folder: Path, name: str) -> list[dict[str, float]]:
    lines = (folder / name / "train" / "metrics.jsonl").read_text().splitlines()
    return [{key: json.loads(line)[key] for key in FIGURES} for line in lines]


def die_at(monkeypatch: pytest.MonkeyPatch, step: int, deed: Any) -> None:
    """Do `deed` when that step has been taken, before anything of it is noted."""

    def dying(model: Any, optimizer: Any, batch: Any, at: int, *rest: Any) -> StepResult:
        result = train_step(model, optimizer, batch, at, *rest)
        if at + 1 == step:
            deed()
        return result

    monkeypatch.setattr(loop, "train_step", dying)


@pytest.fixture(scope="module")
def straight(folder: Path) -> list[dict[str, float]]:
    """The curve of an undisturbed run."""
    result, said = run(folder, "straight")
    assert (result.step, result.steps, result.already_done) == (6, 6, False)
    assert "20 studies of split train (4 without sentences are left out), 6 steps" in said
    return curve(folder, "straight")


def test_a_second_call_does_nothing(folder: Path, straight: list[dict[str, float]]) -> None:
    before = sorted((folder / "straight").rglob("*"))
    result, _ = run(folder, "straight")
    assert result.already_done
    assert result.loss == straight[-1]["loss"]
    assert sorted((folder / "straight").rglob("*")) == before
    assert load_model(result.checkpoint).step == 6


def test_stopping_and_going_on_changes_nothing(
    folder: Path, straight: list[dict[str, float]]
) -> None:
    first, _ = run(folder, "halves", stop_after=3)
    assert first.step == 3
    second, said = run(folder, "halves")
    assert "going on from step 3" in said
    assert curve(folder, "halves") == [pytest.approx(line, abs=1e-6) for line in straight]
    whole = load_model(folder / "straight/train/checkpoints/step-00000006.pt").model.state_dict()
    parts = load_model(second.checkpoint).model.state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, atol=1e-6, rtol=0)


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    folder: Path, straight: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        die_at(patch, 5, die)
        with pytest.raises(MemoryError):
            run(folder, "killed", checkpoint_every="2 steps")
    with (folder / "killed/train/metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "lo')
    _, said = run(folder, "killed", checkpoint_every="2 steps")
    assert "going on from step 4" in said
    assert curve(folder, "killed") == [pytest.approx(line, abs=1e-6) for line in straight]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_resumable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    handler = signal.getsignal(number)
    die_at(monkeypatch, 2, lambda: signal.raise_signal(number))
    with pytest.raises(SystemExit) as stop:
        run(folder, number.name)
    assert stop.value.code == EXIT_RESUMABLE
    assert signal.getsignal(number) == handler
    assert [path.name for path in checkpoints(folder / number.name)] == ["step-00000002.pt"]


def test_what_is_not_finite_stops_before_the_weights_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def poisoned(model: Any, optimizer: Any, batch: Any, *rest: Any) -> StepResult:
        with torch.no_grad():
            model.visual.trunk.cls_token.fill_(float("nan"))
        seen["keys"] = batch.keys
        seen["before"] = {k: v.clone() for k, v in model.state_dict().items()}
        try:
            return train_step(model, optimizer, batch, *rest)
        finally:
            seen["after"] = model.state_dict()

    monkeypatch.setattr(loop, "train_step", poisoned)
    with pytest.raises(NotFinite, match=seen.get("key", "step 1: the loss is nan")) as error:
        run(folder, "poisoned")
    assert error.value.keys == seen["keys"]
    assert seen["keys"][0] in str(error.value)
    for key, value in seen["before"].items():
        torch.testing.assert_close(seen["after"][key], value, equal_nan=True)
    assert checkpoints(folder / "poisoned") == []
    events = [json.loads(line) for line in (folder / "poisoned/log.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "train.not_finite"
    assert tuple(events[-1]["keys"]) == seen["keys"]


def test_settings_that_may_change_are_said_and_others_refused(
    folder: Path, straight: list[dict[str, float]]
) -> None:
    run(folder, "changed", stop_after=2)
    _, said = run(folder, "changed", stop_after=3, learning_rate=1e-4)
    assert "train.learning_rate 0.0001 (it was 0.0005)" in said
    for change, message in (
        ({"seed": 1}, r"train.seed 1 \(it was 0\)"),
        ({"model": made.MODEL.model_copy(update={"joint_dim": 8})}, r"train.model.joint_dim 8"),
    ):
        with pytest.raises(UserError, match=message + ".*remove that one to start over"):
            run(folder, "changed", **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 64}, "batch_size 64 is more than the 20 studies"),
        ({"batch_size": 1}, "nothing to contrast"),
        ({"split": "test"}, "none of the 0 studies in split 'test'"),
        ({"variant": "gpt"}, "there are: offline"),
        (
            {
                "model": Model(
                    name="clip_vit_base_scan_study_dualdinotxt1568", patch=made.MODEL.patch
                )
            },
            "has 2 study tokens for a dual loss",
        ),
        ({"checkpoint_every": "often"}, "train.checkpoint_every: 'often' is not a cadence"),
        ({"speed": TrainSpeed(log_every="0 steps")}, "train.speed.log_every: '0 steps'"),
    ],
)
def test_wrong_settings_leave_no_half_written_run(
    folder: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(folder, "wrong", **settings)
    assert not (folder / "wrong").exists()


def test_damaged_data_is_a_user_error(tmp_path: Path) -> None:
    made.dataset(tmp_path / "dataset", [made.study(i) for i in range(8)])
    tar = tmp_path / "dataset" / "00000.tar"
    data = bytearray(tar.read_bytes())
    data[data.index(b"NUMPY") + 500] ^= 255
    tar.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged: .*shards verify"):
        run(tmp_path, "run", epochs=2, steps=None)


def test_scans_of_different_shapes_are_refused(tmp_path: Path) -> None:
    studies = [made.study(i, grid=(8, 32, 32 if i else 48)) for i in range(8)]
    made.dataset(tmp_path / "dataset", studies)
    with pytest.raises(UserError, match="different shapes"):
        run(tmp_path, "run")


def test_scans_that_are_not_bytes_are_refused(tmp_path: Path) -> None:
    studies = [made.study(i) for i in range(8)]
    wide = [replace(s, array=s.array.astype(np.float16)) for s in studies[3].scans]
    studies[3] = replace(studies[3], scans=tuple(wide))
    made.dataset(tmp_path / "dataset", studies)
    with pytest.raises(UserError, match=r"scans are float16; training reads uint8: .*grid.dtype"):
        run(tmp_path, "run")


def test_it_learns(folder: Path) -> None:
    """Four findings, and a sentence that all studies share: guessing among eight gives ln 8 = 2.08,
    perfect matching the mean of ln 2 (two of eight have a finding) and ln 8, that is 1.39."""
    settings = {"steps": 120, "learning_rate": 3e-3, "patch_dropout": 0.0, "sentences_per_study": 2}
    learned, _ = run(folder, "learns", **settings)
    assert 1.3 < learned.loss < 1.7
