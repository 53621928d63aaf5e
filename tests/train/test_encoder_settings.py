"""What pipelines.yaml may ask of the image encoder, seen in a training."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import made
import pytest
import torch
from rich.console import Console

from study.errors import UserError
from study.sections import Train, TrainSpeed
from train.batch import Rules
from train.clip import create_model, encoder_config
from train.loop import train
from train.run import Run

FIGURES = ("loss", "grad_norm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings")
    made.dataset(path / "dataset", [made.study(i) for i in range(8)])
    return path


def curve(folder: Path, name: str, **settings: Any) -> list[list[float]]:
    pipeline = made.pipeline(folder, name, steps=2, **settings)
    train(pipeline, console=Console(file=StringIO()))
    lines = (folder / name / "train" / "metrics.jsonl").read_text().splitlines()
    return [[json.loads(line)[key] for key in FIGURES] for line in lines]


def test_activation_checkpointing_and_compile_train_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made.MODEL.model_copy(update={"drop_path": 0.5, "rope": True})
    speed = TrainSpeed(log_every="1 step")
    plain = curve(folder, "plain", model=model, speed=speed)
    again = speed.model_copy(update={"activation_checkpointing": True})
    assert curve(folder, "again", model=model, speed=again) == plain
    compiled: list[bool] = []
    monkeypatch.setattr("train.vit.Block.compile", lambda self, **options: compiled.append(True))
    fast = speed.model_copy(update={"compile": True})
    assert curve(folder, "compiled", model=model, speed=fast) == plain
    assert len(compiled) == model.depth


def test_rotary_positions_are_a_setting() -> None:
    model = made.MODEL.model_copy(update={"rope": True})
    assert encoder_config(model, made.GRID).rope
    with pytest.raises(UserError, match=r"train\.model .*at least 6"):
        create_model(model.model_copy(update={"heads": 8}), made.GRID)


def test_first_weights_of_a_2d_mae(folder: Path, tmp_path: Path) -> None:
    encoder = create_model(made.MODEL, made.GRID)[0].visual.trunk
    weights = {k: v for k, v in encoder.state_dict().items() if k.startswith(("blocks", "norm"))}
    weights["cls_token"] = torch.full((1, 1, 32), 3.0)
    weights["pos_embed"] = torch.ones(1, 5, 32)
    weights["patch_embed.proj.weight"] = torch.ones(32, 3, 16, 16)
    weights["patch_embed.proj.bias"] = torch.zeros(32)
    torch.save({"model": weights}, tmp_path / "mae.pth")
    model = made.MODEL.model_copy(update={"mae": str(tmp_path / "mae.pth")})
    run = Run.prepare(made.pipeline(folder, "mae", model=model), print)
    trunk = run.model.visual.trunk
    assert torch.equal(trunk.cls_token, torch.full((1, 1, 32), 4.0))
    torch.testing.assert_close(
        trunk.patch_embed.proj.weight, torch.full_like(trunk.patch_embed.proj.weight, 0.75)
    )
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "mae.pth")
    with pytest.raises(UserError, match=r"train\.model\.mae .*mae\.pth: .*no pos_embed"):
        Run.prepare(made.pipeline(folder, "other", model=model), print)


def test_more_scans_a_study_than_positions_are_refused() -> None:
    model = made.MODEL.model_copy(update={"max_num_scans": 4})
    encoder = encoder_config(model, made.GRID)
    with pytest.raises(UserError, match=r"train\.scans_per_study: 8 .* at most 4"):
        Rules.of(Train(model=model, scans_per_study=8, steps=1), encoder)
    assert Rules.of(Train(model=model, scans_per_study=4, steps=1), encoder).scan_positions == 4
    without = replace(encoder, max_num_scans=0)
    assert Rules.of(Train(model=model, scans_per_study=8, steps=1), without).scan_positions == 0
