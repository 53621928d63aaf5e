"""Agreement against scikit-learn, by hand, and as the command prints it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from typer.testing import CliRunner

from dicom2clip import app
from eval import scores
from eval.agreement import METRICS, Table, agreement
from eval.label_table import read_label_tables
from study.errors import UserError

VALUES = st.sampled_from([0.0, 0.5, 1.0])
PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)


def tables(seed: int, studies: int = 60) -> tuple[Table, Table]:
    """A reference, and another that mostly agrees, with gaps in both."""
    rng = np.random.default_rng(seed)
    predicted: dict[str, dict[str, float]] = {}
    reference: dict[str, dict[str, float]] = {}
    for number in range(studies):
        true = {name: float(rng.random() < 0.4) for name in "ab"}
        said = {
            n: v if rng.random() < 0.8 else float(rng.choice([0, 0.5, 1])) for n, v in true.items()
        }
        predicted[f"s{number}"] = {n: v for n, v in said.items() if rng.random() < 0.9}
        reference[f"s{number + 3}"] = {n: v for n, v in true.items() if rng.random() < 0.9}
    return predicted, reference


# ----------------------------------------------------------------------------------------- scores


@given(PAIRS)
def test_kappa_and_recall_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, called = (np.array(values, np.int64) for values in zip(*pairs, strict=True))
    ours = float(scores.kappa(truth, called))
    if len({*truth, *called}) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(sk.cohen_kappa_score(truth, called), abs=1e-12)
    for outcome in (0, 1):
        found = float(scores.recall(outcome, truth, called))
        if outcome in truth:
            assert found == pytest.approx(sk.recall_score(truth, called, pos_label=outcome))
        else:
            assert math.isnan(found)


@given(PAIRS, st.integers(0, 99))
def test_weights_count_studies(pairs: list[tuple[int, int]], seed: int) -> None:
    truth, called = (np.array(values, np.int64) for values in zip(*pairs, strict=True))
    counts = np.random.default_rng(seed).integers(0, 4, (2, len(truth)))
    weighted = scores.kappa(truth, called, counts.astype(float))
    for row, count in enumerate(counts):
        repeated = scores.kappa(np.repeat(truth, count), np.repeat(called, count))
        np.testing.assert_allclose(weighted[row], repeated, atol=1e-12)


def test_kappa_by_hand() -> None:
    # Cohen's own kind of table: 20 both yes, 15 both no, 5 and 10 apart; (0.7 - 0.5) / (1 - 0.5)
    truth = np.repeat([1, 1, 0, 0], [20, 10, 5, 15])
    called = np.repeat([1, 0, 1, 0], [20, 10, 5, 15])
    assert float(scores.kappa(truth, called)) == pytest.approx(0.4)


# -------------------------------------------------------------------------------------- agreement


def test_by_hand() -> None:
    predicted = {
        "1": {"a": 1.0}, "2": {"a": 0.5}, "3": {"a": 0.0}, "4": {"a": 1.0}, "5": {"a": 1.0},
        "6": {}, "8": {"a": 1.0},
    }  # fmt: skip
    reference = {
        "1": {"a": 1.0, "b": 1.0}, "2": {"a": 1.0}, "3": {"a": 0.0}, "4": {"a": 0.0},
        "5": {"a": 0.5}, "6": {"a": 1.0}, "7": {"a": 1.0},
    }  # fmt: skip
    found = agreement(predicted, reference, resamples=0)
    (row,) = found.labels
    assert (row.compared, row.positive, row.called, row.uncertain) == (4, 2, 2, 1)
    assert (row.open, row.unknown) == (1, 1)
    assert (found.studies, found.only_predicted, found.only_reference) == (6, 1, 1)
    assert (found.labels_only_predicted, found.labels_only_reference) == ((), ("b",))
    # positives 1 and 0.5 against negatives 0 and 1: 1 > 0, 1 = 1, 0.5 > 0, 0.5 < 1
    assert row.scores["auc"].value == 2.5 / 4
    assert row.scores["sensitivity"].value == 0.5
    assert row.scores["specificity"].value == 0.5
    assert row.scores["kappa"].value == 0.0
    lenient = agreement(predicted, reference, threshold=0.49, resamples=0).labels[0]
    assert (lenient.called, lenient.scores["sensitivity"].value) == (3, 1.0)
    assert lenient.scores["auc"] == row.scores["auc"]


@pytest.mark.parametrize("seed", range(3))
def test_means_and_intervals(seed: int) -> None:
    predicted, reference = tables(seed)
    found = agreement(predicted, reference, resamples=200)
    for metric in METRICS:
        values = [row.scores[metric].value for row in found.labels]
        assert found.intervals[metric].value == pytest.approx(np.mean(values))
        for score in (*(row.scores[metric] for row in found.labels), found.intervals[metric]):
            assert score.low <= score.value <= score.high
            assert score.low < score.high
    assert agreement(predicted, reference, resamples=200) == found


def test_a_label_of_one_outcome_is_left_out_of_the_mean() -> None:
    reference = {str(n): {"a": float(n % 2), "b": 0.0} for n in range(8)}
    found = agreement(reference, reference, resamples=0)
    assert found.macro["auc"].averaged == ("a",)
    assert found.macro["auc"].left_out == ("b",)
    assert found.intervals["kappa"].value == 1.0
    assert found.as_json()["labels"][1]["scores"]["kappa"]["value"] is None


def test_patients_make_intervals_wider() -> None:
    """Ten copies of each study say no more than one of them."""
    predicted, reference = tables(1, 40)
    many = [
        {f"{k} {n}": v for k, v in t.items() for n in range(10)} for t in (predicted, reference)
    ]
    whose = {key: key.split()[0] for key in (*many[0], *many[1])}
    alone = agreement(many[0], many[1], resamples=300).intervals["kappa"]
    grouped = agreement(many[0], many[1], resamples=300, patients=whose).intervals["kappa"]
    assert grouped.value == pytest.approx(alone.value)
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


@given(
    st.dictionaries(st.sampled_from("123456"), st.dictionaries(st.sampled_from("abc"), VALUES)),
    st.dictionaries(st.sampled_from("123456"), st.dictionaries(st.sampled_from("abc"), VALUES)),
)
def test_any_tables_have_counts_that_add_up(predicted: Table, reference: Table) -> None:
    found = agreement(predicted, reference, resamples=0)
    assert found.studies + found.only_predicted == len(predicted)
    assert found.studies + found.only_reference == len(reference)
    for row in found.labels:
        assert row.compared + row.open + row.unknown == found.studies
        for score in row.scores.values():
            assert math.isnan(score.value) or -1.0 <= score.value <= 1.0
    json.dumps(found.as_json(), allow_nan=False)


# ------------------------------------------------------------------------------------ the command


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two tables of one content, CSV and Parquet, with columns that are no labels."""
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.parquet"
    ours.write_text("uid,file,mass,shift,age\n007,a,1,0.5,31\n008,b,0,,42\n009,c,1,1,53\n")
    rows = {"uid": ["007", "008", "010"], "mass": [1, 0, 1], "shift": [1.0, None, 0.0]}
    pq.write_table(pa.table({**rows, "text": ["x", "y", "z"], "age": [31, 42, 99]}), theirs)
    return ours, theirs


def test_tables_are_read(files: tuple[Path, Path]) -> None:
    ours, theirs = read_label_tables(*files)
    assert (ours.key, theirs.key) == ("uid", "uid")
    assert ours.rows == {"007": {"mass": 1.0, "shift": 0.5}, "008": {"mass": 0.0},
                         "009": {"mass": 1.0, "shift": 1.0}}  # fmt: skip
    assert theirs.rows["010"] == {"mass": 1.0, "shift": 0.0}
    assert (ours.left_out, theirs.left_out) == (("file", "age"), ("text", "age"))
    only, _ = read_label_tables(*files, labels=["mass"], patient="file")
    assert only.rows["007"] == {"mass": 1.0}
    assert only.patients["007"] == "a"


def test_a_table_of_the_reader_itself_agrees_with_itself(tmp_path: Path) -> None:
    predicted, _ = tables(4)
    columns = {n: [row.get(n) for row in predicted.values()] for n in "ab"}
    file = tmp_path / "t.csv"
    pa_csv.write_csv(pa.table({"key": list(predicted), **columns}), file)
    ours, theirs = read_label_tables(file, file)
    assert ours.rows == theirs.rows == predicted


def test_the_command(files: tuple[Path, Path]) -> None:
    run = CliRunner().invoke(app, ["agreement", *map(str, files), "--bootstrap", "50"])
    assert run.exit_code == 0
    assert "ours.csv against theirs.parquet" in run.stdout
    assert "2 studies in both; 1 only in ours.csv, 1 only in theirs.parquet" in run.stdout
    assert "no labels in ours.csv: file, age" in run.stdout
    run = CliRunner().invoke(app, ["agreement", *map(str, files), "--json"])
    facts = json.loads(run.stdout)
    assert [row["label"] for row in facts["labels"]] == ["mass", "shift"]
    assert facts["labels"][0]["scores"]["auc"]["value"] == 1.0
    assert facts["columns_left_out"] == {"table": ["file", "age"], "reference": ["text", "age"]}


@pytest.mark.parametrize(
    ("ours", "options", "told"),
    [
        ("id,mass\n1,1\n", {"key": "uid"}, "there is no column 'uid'"),
        ("uid,mass\n1,1\n1,0\n", {}, "uid 1 comes more than once"),
        ("uid,mass\n,1\n", {}, "uid of row 1 is empty"),
        ("uid,mass\n1,2\n", {"labels": ["mass"]}, "column 'mass': 2 is not a number from 0 to 1"),
        ("uid,mass\n1,x\n", {"labels": ["mass"]}, "'x' is not a number from 0 to 1"),
        ("uid,mass\n1,1\n", {"labels": ["mas"]}, "'mas'; did you mean 'mass'"),
        ("uid,mass\n1,1\n", {"patient": "pat"}, "there is no column 'pat'"),
        ("uid,mass,mass\n1,1,1\n", {}, "two columns have the name 'mass'"),
        ("name,bleed\n1,1\n", {}, "have no column in common"),
        ("", {}, "cannot be read"),
    ],
)
def test_wrong_tables_are_told(
    files: tuple[Path, Path], ours: str, options: dict[str, object], told: str
) -> None:
    files[0].write_text(ours)
    with pytest.raises(UserError, match=told):
        read_label_tables(*files, **options)  # type: ignore[arg-type]


def test_tables_of_nothing_in_common_are_told(files: tuple[Path, Path]) -> None:
    files[0].write_text("uid,mass\n7,1\n8,0\n")
    run = CliRunner().invoke(app, ["agreement", *map(str, files)])
    assert isinstance(run.exception, UserError)
    assert "have no uid in common; for example '7' and '007'" in str(run.exception)
    with pytest.raises(UserError, match=r"the ending must be \.csv or \.parquet"):
        read_label_tables(files[0].with_suffix(".txt"), files[1])
