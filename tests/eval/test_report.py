"""What is printed and written: nothing undefined as a number, everything needed to ask again."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from eval.prompts import Benchmark
from eval.report import Source, print_result, write_result
from eval.zeroshot import BenchmarkResult, Cohort, TextTower, evaluate_benchmark

SOURCE = Source(
    pipeline="demo",
    checkpoint="/runs/demo/checkpoints/step-000300.pt",
    checkpoint_sha256="ab" * 32,
    step=300,
    model="dicom2clip_tiny",
    prefix="This study shows: ",
    dataset="cd" * 32,
    scans_sha256="ef" * 32,
    split="test",
    max_scans=64,
    versions={"torch": "2.13.0"},
)


def made_result(rule: str = "positive", resamples: int = 20) -> BenchmarkResult:
    """Class b has one outcome; study 3 has no label a; study 4 has none at all."""
    benchmark = Benchmark.model_validate(
        {
            "name": "made",
            "title": "Made [findings]",
            "rule": rule,
            "metrics": ["auc"] if rule == "positive" else ["auc", "balanced_accuracy"],
            "classes": [
                {"name": "A", "label": "a", "positive": ["a"]},
                {"name": "B", "label": "b", "positive": ["b"]},
            ],
        }
    )
    labels = ({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 0.0}, {"b": 0.0}, {})
    features = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    keys = tuple(f"k{i}" for i in range(5))
    tower = TextTower(lambda texts: np.eye(2, dtype=np.float32)[: len(texts)], SOURCE.prefix)
    cohort = Cohort(keys, keys, features, labels)
    return evaluate_benchmark(benchmark, cohort, tower, resamples=resamples)


def printed(result: BenchmarkResult) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_result(console, result, SOURCE)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_json_has_what_is_needed_to_ask_again(tmp_path: Path) -> None:
    result = made_result()
    file, changed = write_result(result, SOURCE, tmp_path / "eval")
    assert changed
    facts = json.loads(file.read_text())
    assert file.name == "made.json"
    assert facts["source"]["step"] == 300
    assert facts["source"]["scans_sha256"] == SOURCE.scans_sha256
    assert facts["bootstrap"] == {"resamples": 20, "seed": 0, "unit": "patient", "level": 0.95}
    assert Benchmark.model_validate(facts["benchmark"]) == result.benchmark
    first = facts["classes"][0]
    assert (first["positives"], first["negatives"], first["unknown"]) == (2, 1, 1)
    assert first["positive_texts"] == ["This study shows: a"]
    assert 0 <= first["scores"]["auc"]["low"] <= first["scores"]["auc"]["high"] <= 1
    assert facts["averaged"] == ["A"]
    assert facts["left_out"] == {"B": "all 4 labelled studies are negative"}
    assert (facts["studies"], facts["set_aside"]) == (4, 1)


def test_undefined_is_null_in_json(tmp_path: Path) -> None:
    facts = json.loads(write_result(made_result(resamples=0), SOURCE, tmp_path)[0].read_text())
    assert facts["classes"][0]["scores"]["auc"]["low"] is None
    assert facts["classes"][1]["scores"] == {}


def test_csv_gives_every_study(tmp_path: Path) -> None:
    result = made_result()
    write_result(result, SOURCE, tmp_path)
    with (tmp_path / "made.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["key"] for row in rows] == ["k0", "k1", "k2", "k3"]
    assert [row["A: truth"] for row in rows] == ["1", "0", "1", ""]
    read = [[float(row["A: score"]), float(row["B: score"])] for row in rows]
    np.testing.assert_array_equal(read, result.scores_NC)


def test_files_of_an_earlier_run_are_replaced_whole(tmp_path: Path) -> None:
    assert write_result(made_result(), SOURCE, tmp_path)[1]
    assert not write_result(made_result(), SOURCE, tmp_path)[1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["made.csv", "made.json"]


def test_table_shows_counts_intervals_and_what_was_left_out() -> None:
    text = printed(made_result())
    assert "Made [findings]" in text
    value = made_result().classes[0].scores["auc"].value
    assert f"{value:.3f}" in text
    assert "[" in text
    assert "4 studies of 4 patients in split test, 1 set aside" in text
    assert "step-000300.pt, step 300" in text
    assert "Prompts such as: This study shows: a" in text
    assert "Not scored and not in the mean: B (all 4 labelled studies are negative)" in text


@pytest.mark.parametrize("resamples", [0, 20])
def test_a_decision_has_a_line_of_its_own(resamples: int) -> None:
    text = printed(made_result("softmax", resamples))
    assert "balanced accuracy: " in text
    assert "nan" not in text.lower()
