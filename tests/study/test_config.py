from __future__ import annotations

from pathlib import Path

import pytest

from study.config import fingerprint, load_pipeline, pipeline_names
from study.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]

PIPELINES = """\
base:
  description: the base
  dataset: data/base
  run: runs/base
  ingest:
    source: scans
    grid: {depth: 24, resize: 64, size: 64}
    intensity:
      ct_windows: {brain: [40, 80]}
  train:
    steps: 10
child:
  extends: base
  dataset: /absolute/child
  run: runs/child
  ingest:
    grid: {depth: 32}
    intensity:
      ct_windows: {chest: [-400, 1500]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pipelines.yaml"
    path.write_text(PIPELINES)
    return path


def test_a_child_overrides_and_inherits(file: Path) -> None:
    child = load_pipeline(file, "child")
    assert (child.ingest.grid.depth, child.ingest.grid.size) == (32, 64)
    assert child.train.steps == 10
    assert child.dataset == "/absolute/child"
    assert child.ingest.intensity.ct_windows == {"chest": (-400, 1500)}  # a set, not a merge


def test_paths_start_at_the_file(file: Path, tmp_path: Path) -> None:
    base = load_pipeline(file, "base")
    assert base.ingest.source == (str(tmp_path / "scans"),)
    assert base.run == str(tmp_path / "runs" / "base")


def test_overrides_win_and_their_paths_start_here(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ["train.batch_size=3", "ingest.source=else", "ingest.grid={depth: 8}"]
    base = load_pipeline(file, "base", changes)
    assert base.train.batch_size == 3
    assert base.ingest.source == (str(tmp_path / "else"),)
    assert base.ingest.grid.depth == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "depth: 24",
            "dept: 24",
            r"line 7: unknown key 'ingest.grid.dept'; did you mean 'depth'\?",
        ),
        ("steps: 10", "stpes: 10", r"unknown key 'train.stpes'; did you mean 'steps'\?"),
        ("size: 64}", "size: zero}", r"line 7: ingest.grid.size: .*integer.* \(found 'zero'\)"),
        (
            "extends: base",
            "extends: bse",
            r"extends 'bse', which is missing; did you mean 'base'\?",
        ),
        ("dataset: data/base", "data: x", r"line 3: unknown key 'data'; did you mean 'dataset'"),
        ("[-400, 1500]", "[-400, 0]", r"line 19: .*width 0"),
        ("run: runs/base", "run: runs/base\n  run: again", r"line 5: base.run is given twice"),
        ("steps: 10", "steps: [", r"not valid YAML: line \d+: expected"),
        ("steps: 10", "steps: 10\n    epochs: 3", r"either epochs or steps"),
    ],
)
def test_errors_name_the_place(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(PIPELINES.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_pipeline(file, "child")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=3", r"--set train.batchsize=3: unknown key .*'batch_size'"),
        ("trian.x=1", r"--set trian.x=1: unknown key 'trian'; did you mean 'train'"),
        ("nonsense", r"not of the form key=value"),
        ("name=x", r"name the pipeline in the command"),
        ("ingest.intensity.mr_percentiles=[0,200]", r"two percentiles from 0 to 100"),
        ("ingest.test_fraction=0.95", r"add up to more than 1"),
        ("ingest.speed.memory_limit=lots", r"memory_limit"),
        ("ingest.speed.memory_limit=100MB", r"memory_limit: a process needs 500MB"),
        ("ingest.speed.decode_memory=499 MB", r"decode_memory: a process needs 500MB"),
        ("ingest.source=[1,2]", r"ingest.source"),
        ("train.variant={a: -1}", r"^--set .*: train.variant.a: .*greater than 0 \(found -1\)$"),
        ("train.description={a: 1}", r"unknown key 'train.description'"),
        ("train.model.name={a: 1}", r"train.model.name: .*valid string"),
        ("dataset.x=1", r"dataset is a value"),
    ],
)
def test_errors_of_overrides(file: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_pipeline(file, "base", [override])


LISTED = """
base:
  ingest:
    summarizers:
      - variant: a
        model: m
      - variant: b
        model: m
        KEY
child:
  extends: base
  dataset: d
  run: r
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("base_ur: x", r"line 9: unknown key 'ingest.summarizers.1.base_ur'; .*'base_url'"),
        ("base_url: x", r"line 9: ingest.summarizers.1.base_url: 'x' is no address"),
        ("model: x", r"line 9: base.ingest.summarizers.1.model is given twice, on line 8"),
        ("speed: {max_cost: 1}", r"line 9: ingest.summarizers.1.speed: max_cost needs price_in"),
    ],
)
def test_errors_within_lists_name_the_place(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "pipelines.yaml"
    file.write_text(LISTED.replace("KEY", line))
    with pytest.raises(UserError, match=message):
        load_pipeline(file, "child")


def test_files_named_in_lists_start_at_the_file_or_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, here = tmp_path / "home" / "pipelines.yaml", tmp_path / "here"
    file.parent.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    file.write_text(
        "p:\n  dataset: d\n  run: r\n  ingest:\n    speed: {answers: paid}\n    labelers:\n"
        "      - {label_set: ct-rate}\n      - {label_set: ward.yaml, prompt: labels}\n"
    )
    settings = load_pipeline(file, "p").ingest
    assert [one.label_set for one in settings.labelers] == [
        "ct-rate",
        str(file.parent / "ward.yaml"),
    ]
    assert settings.labelers[1].prompt == "labels"
    assert settings.speed.answers == str(file.parent / "paid")
    own = "ingest.summarizers=[{variant: a, model: m, prompt: sub/own.yaml}]"
    [summarizer] = load_pipeline(file, "p", [own]).ingest.summarizers
    assert summarizer.prompt == str(here / "sub" / "own.yaml")


def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "pipelines.yaml"
    file.write_text(LISTED.replace("KEY", "api_key_env: sk-secret"))
    with pytest.raises(UserError, match="not a key") as told:
        load_pipeline(file, "child")
    assert "secret" not in str(told.value)


def test_a_path_may_hold_what_yaml_would_read_otherwise(file: Path) -> None:
    assert load_pipeline(file, "base", ["ingest.source=/data/a #1"]).ingest.source == (
        "/data/a #1",
    )


@pytest.mark.parametrize("text", ["2024: {dataset: d, run: r}", "a: {5: x}", "a: {extends: [b]}"])
def test_odd_files_are_one_message(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError):
        load_pipeline(file, "a")


def test_unknown_pipeline_and_missing_file(file: Path) -> None:
    with pytest.raises(UserError, match=r"no pipeline 'bas'; did you mean 'base'\?"):
        load_pipeline(file, "bas")
    with pytest.raises(UserError, match="there is no"):
        load_pipeline(file.with_name("none.yaml"), "base")


def test_a_circle_is_an_error(file: Path) -> None:
    file.write_text("a: {extends: b}\nb: {extends: a}\n")
    with pytest.raises(UserError, match="circle: a -> b -> a"):
        load_pipeline(file, "a")


def test_fingerprint_ignores_order_and_sees_values() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_all_pipelines_of_the_repository_are_valid() -> None:
    file = REPOSITORY / "pipelines.yaml"
    for name in pipeline_names(file):
        assert load_pipeline(file, name).name == name
