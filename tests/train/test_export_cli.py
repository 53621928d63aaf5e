"""`dicom2clip export`: from a run to a folder that open_clip loads."""

from __future__ import annotations

import json
from pathlib import Path

import made
import open_clip
import pytest
import torch
import yaml
from rich.console import Console

from study.errors import UserError
from train.checkpoint import load_model
from train.cli_export import export_command
from train.loop import train
from train.published import load_published


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that has trained two steps, and its file."""
    folder = tmp_path_factory.mktemp("export")
    made.dataset(folder / "dataset", [made.study(n) for n in range(8)])
    pipeline = made.pipeline(folder, steps=2, warmup_steps=1)
    train(pipeline, console=Console(quiet=True))
    content = pipeline.model_dump(mode="json", exclude={"name"})
    (folder / "pipelines.yaml").write_text(yaml.safe_dump({"made": content}))
    return folder


def test_a_run_is_exported_with_its_weights_and_what_its_scans_were(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_command("made", tmp_path / "out", config=home / "pipelines.yaml", as_json=True)
    facts = json.loads(capsys.readouterr().out)
    loaded = load_model(Path(facts["checkpoint"]))
    theirs = open_clip.create_model(f"local-dir:{facts['folder']}")
    wanted = loaded.model.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in theirs.state_dict().items())
    assert facts["step"] == 2
    assert facts["parameters"] == sum(p.numel() for p in loaded.model.parameters())
    about = load_published(facts["folder"]).about
    assert about["prefix"] == loaded.settings.prefix
    assert about["preprocessing"]["stored_grid"] == list(made.GRID)


def test_without_the_dataset_the_pipeline_says_how_scans_were_made(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = [f"dataset={tmp_path / 'nowhere'}"]
    export_command("made", tmp_path / "out", config=home / "pipelines.yaml", overrides=nowhere)
    assert "export: dicom2clip_tiny at step 2" in capsys.readouterr().out
    said = load_published(str(tmp_path / "out")).about["preprocessing"]
    assert said["intensity"]["ct_windows"]["brain"] == [40.0, 80.0]
    assert said["grid"]["size"] == 224


def test_wrong_input_is_refused_before_anything_is_written(home: Path, tmp_path: Path) -> None:
    file = home / "pipelines.yaml"
    with pytest.raises(UserError, match="there is no checkpoint"):
        export_command("made", tmp_path / "out", checkpoint=tmp_path / "x.pt", config=file)
    run = [f"run={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="holds no checkpoint"):
        export_command("made", tmp_path / "out", config=file, overrides=run)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match="is not empty"):
        export_command("made", tmp_path / "full", config=file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
