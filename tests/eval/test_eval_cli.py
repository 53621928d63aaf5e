"""The whole evaluation on a real dataset on disk: what it writes, what it reuses, and every wrong
input's message.

Most tests score a model that sees nothing but brightness (see made_for_eval.py); one goes through
a checkpoint on disk. What training is worth is for the demo to show.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_for_eval import GRID, MadeModel, loaded
from rich.console import Console

import eval.cli
import train.checkpoint
from eval.cli import evaluate
from shards.writer import ShardWriter, finish_dataset
from study.config import Pipeline
from study.errors import UserError
from study.records import Scan, Study
from study.sections import Eval, Train
from train.clip import create_model

IDENTITY = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))

BENCHMARK = """\
name: light
title: Bright or dark
metrics: [auc]
classes:
  - {name: bright, label: bright, positive: [bright]}
  - {name: dark, label: dark, positive: [dark]}
"""


def study(number: int, labels: dict[str, float], grid: tuple[int, int, int] = GRID) -> Study:
    """Of number % 3 + 1 scans; the higher the number, the brighter."""
    scan = Scan(
        array=np.full(grid, 10 * number, np.uint8),
        modality="MR",
        plane="axial",
        window="percentile",
        window_limits=(0.0, 1.0),
        spacing_mm=(1.0, 1.0, 1.0),
        affine=IDENTITY,
        source_shape=grid,
        source_spacing_mm=(1.0, 1.0, 1.0),
        source_affine=IDENTITY,
    )
    return Study(
        key=f"{number:032x}",
        patient=f"{number // 2:032x}",
        split="test",
        scans=(scan,) * (number % 3 + 1),
        labels=labels,
    )


def write_dataset(folder: Path, studies: list[Study]) -> None:
    with ShardWriter(folder, 0, "none") as writer:
        for one in studies:
            writer.add(one)
    finish_dataset(folder, fingerprint="f00d", provenance={}, settings={})


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Twelve studies, the six brighter ones labelled so, a benchmark that asks for it, and a
    checkpoint."""
    labels = [{"bright": float(n >= 6), "dark": float(n < 6)} for n in range(12)]
    write_dataset(tmp_path / "dataset", [study(n, labels[n]) for n in range(12)])
    (tmp_path / "light.yaml").write_text(BENCHMARK)
    (tmp_path / "step-7.pt").write_bytes(b"weights")
    model = MadeModel()
    monkeypatch.setattr(eval.cli, "load_model", lambda path, device: loaded(model))
    monkeypatch.setattr(eval.cli, "newest_checkpoint", lambda run: tmp_path / "step-7.pt")
    return Pipeline(
        name="made",
        dataset=str(tmp_path / "dataset"),
        run=str(tmp_path / "run"),
        eval=Eval(benchmarks=(str(tmp_path / "light.yaml"),), bootstrap=20, batch_size=4),
    )


def with_eval(pipeline: Pipeline, **changes: Any) -> Pipeline:
    return pipeline.model_copy(update={"eval": pipeline.eval.model_copy(update=changes)})


def run(pipeline: Pipeline, **options: Any) -> tuple[Any, str]:
    out = io.StringIO()
    results = evaluate(pipeline, console=Console(file=out, width=150), **options)
    return results, out.getvalue()


def test_a_model_that_sees_brightness_scores_one(pipeline: Pipeline, tmp_path: Path) -> None:
    (result,), text = run(pipeline)
    assert result.overall["macro_auc"].value == 1.0
    assert (result.studies, result.patients) == (12, 6)
    assert "Bright or dark" in text
    assert "step-7.pt, step 7" in text
    facts = json.loads((tmp_path / "run" / "eval" / "light.json").read_text())
    assert facts["source"]["dataset"] == "f00d"
    assert facts["source"]["prefix"] == "This study shows: "
    assert facts["classes"][0]["positive_texts"] == ["This study shows: bright"]


def test_embeddings_are_used_again_until_something_changes(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    (first,), text = run(pipeline)
    assert "up to date" not in text
    (second,), text = run(pipeline)
    assert "up to date" in text
    assert second.overall == first.overall
    np.testing.assert_array_equal(second.scores_NC, first.scores_NC)

    assert "up to date" not in run(with_eval(pipeline, max_scans=1))[1]
    (tmp_path / "step-7.pt").write_bytes(b"other weights")
    assert "up to date" not in run(pipeline)[1]
    assert "up to date" in run(pipeline)[1]
    write_dataset(tmp_path / "dataset", [study(n, {"bright": n % 2}) for n in range(12)])
    assert "up to date" in run(pipeline)[1], "new labels need no new embeddings"
    write_dataset(tmp_path / "dataset", [study(n, {"bright": n % 2}) for n in range(10)])
    assert "up to date" not in run(pipeline)[1]


def test_a_class_with_one_outcome_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset", [study(n, {"bright": n % 2, "dark": 0}) for n in range(6)])
    (result,), text = run(pipeline)
    assert "dark (all 6 labelled studies are negative)" in text
    assert set(result.overall) == {"macro_auc"}


def test_a_checkpoint_can_be_named(pipeline: Pipeline, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(b"weights too")
    assert "other.pt, step 7" in run(pipeline, checkpoint=other)[1]
    with pytest.raises(UserError, match=r"there is no checkpoint .*none\.pt"):
        run(pipeline, checkpoint=tmp_path / "none.pt")


def test_wrong_input_is_said_before_anything_is_encoded(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"eval\.benchmarks is empty: .*--set"):
        run(with_eval(pipeline, benchmarks=()))
    with pytest.raises(UserError, match="no benchmark 'demmo'; did you mean 'demo'"):
        run(with_eval(pipeline, benchmarks=("demmo",)))
    with pytest.raises(UserError, match="have the name 'light'"):
        run(with_eval(pipeline, benchmarks=pipeline.eval.benchmarks * 2))
    with pytest.raises(UserError, match=r"no studies in the split 'valid': .*eval\.split"):
        run(with_eval(pipeline, split="valid"))
    with pytest.raises(
        UserError, match=r"benchmark facts: .* labels ct, mr; they have: bright, dark"
    ):
        run(with_eval(pipeline, benchmarks=("facts",)))
    with pytest.raises(UserError, match="there is no folder"):
        run(pipeline.model_copy(update={"dataset": str(tmp_path / "nowhere")}))
    monkeypatch.setattr(eval.cli, "newest_checkpoint", train.checkpoint.newest_checkpoint)
    with pytest.raises(UserError, match=r"no checkpoint; .*dicom2clip train"):
        run(pipeline)
    assert not (tmp_path / "run").exists()


def test_a_dataset_without_labels_says_where_they_come_from(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "dataset", [study(n, {}) for n in range(6)])
    with pytest.raises(UserError, match=r"they have none at all \(see ingest\.labels\)"):
        run(pipeline)


def test_a_damaged_shard_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    tar = tmp_path / "dataset" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:8000])
    with pytest.raises(UserError, match=r"00000\.tar: study .*truncated\n.*shards verify"):
        run(pipeline)


def test_prompts_are_encoded_once(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MadeModel()
    monkeypatch.setattr(eval.cli, "load_model", lambda path, device: loaded(model))
    again = tmp_path / "again.yaml"
    again.write_text(BENCHMARK.replace("name: light", "name: again"))
    run(with_eval(pipeline, benchmarks=(*pipeline.eval.benchmarks, str(again))))
    assert sorted(model.texts) == ["This study shows: bright", "This study shows: dark"]


def test_nothing_but_results_is_written(pipeline: Pipeline, tmp_path: Path) -> None:
    run(pipeline)
    names = sorted(file.name for file in (tmp_path / "run" / "eval").iterdir())
    assert names == ["embeddings_test.parquet", "light.csv", "light.json"]


def test_scans_of_other_shapes_are_refused(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = loaded(MadeModel())
    other.grid = (4, 4, 4)
    monkeypatch.setattr(eval.cli, "load_model", lambda path, device: other)
    with pytest.raises(UserError, match=r"trained on \(4, 4, 4\): evaluate on a dataset of"):
        run(pipeline)


def test_a_checkpoint_on_disk(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing made but the weights, which are fresh: the contract with train and shards."""
    for name in ("load_model", "newest_checkpoint"):
        monkeypatch.setattr(eval.cli, name, getattr(train.checkpoint, name))
    grid, settings = (8, 24, 24), Train(steps=1, prefix="Seen here: ")
    model, _ = create_model(settings.model, grid)
    optimizer = torch.optim.AdamW(model.parameters())
    place = train.checkpoint.Place(step=3)
    train.checkpoint.save(tmp_path / "run", model, optimizer, place, settings, grid, "data", keep=1)
    write_dataset(
        tmp_path / "dataset", [study(n, {"bright": float(n >= 4)}, grid) for n in range(8)]
    )
    (first,), text = run(pipeline)
    assert "step 3" in text
    assert first.classes[0].positive_texts == ("Seen here: bright",)
    assert first.classes[1].left_out == "no study has a label 'dark' of 0 or 1"
    (second,), text = run(pipeline)
    assert "up to date" in text
    np.testing.assert_array_equal(second.scores_NC, first.scores_NC)
