"""`shards find` against a small dataset whose studies are known one by one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from made_studies import key_of, study_of
from typer.testing import CliRunner

from shards import condition, words
from shards.cli import app
from shards.find import Query, find
from shards.reader import Dataset
from shards.writer import ShardWriter, finish_dataset
from study.errors import UserError
from study.records import Reason, Report, Study


def made() -> list[Study]:
    """0: old MR, two planes. 1: CT, two windows, long echo nowhere. 2: labels half known. 3: no
    sentences, a report. 4: plain."""
    first = study_of(0)
    axial, coronal = first.scans
    short = replace(axial, acquisition={"echo_time_ms": 12.0, "manufacturer": "SIEMENS"})
    brain = replace(axial, modality="CT", window="brain", acquisition={"kvp_kv": 120.0})
    bone = replace(brain, window="bone", flags=("GANTRY_TILT",), spacing_mm=(1.0, 2.0, 2.0))
    return [
        replace(
            first,
            scans=(axial, replace(short, plane="coronal"), coronal),
            age_years=88,
            report=Report(
                {"offline": ("Acute infarct.", "No mass."), "model": ("Infarct, acute.",)},
                "FINDINGS: Acute infarct.\nNo mass.",
            ),
        ),
        replace(
            study_of(1, split="valid"),
            scans=(brain, bone),
            sex="M",
            report=Report({"offline": ("No acute haemorrhage.",)}),
        ),
        replace(study_of(2, split="test"), labels={"mass": 1.0, "bleed": 0.0}, age_years=None),
        replace(study_of(3), report=Report({}, "Old infarct;\tnothing acute. \x1b[31mRed.")),
        study_of(4),
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Study 4 was written anew in the second shard, where it says something else."""
    folder = tmp_path_factory.mktemp("find") / "data"
    again = replace(study_of(4), report=Report({"offline": ("Superseding.",)}))
    for shard, studies in enumerate((made(), [again])):
        with ShardWriter(folder, shard, "none", content=f"content {shard}") as writer:
            for study in studies:
                writer.add(study)
            writer.reject(key_of(500 + shard), key_of(1500), "train", Reason.NO_SCANS)
    finish_dataset(folder, fingerprint="f" * 64, provenance={}, settings={})
    return folder


@pytest.fixture
def run(dataset: Path) -> Callable[..., str]:
    def run(*arguments: object, stderr: bool = False) -> str:
        result = CliRunner().invoke(app, ["find", str(dataset), *map(str, arguments)])
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stderr if stderr else result.stdout

    return run


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], [0, 1, 2, 3, 4]),
        (["--modality", "ct"], [1]),
        (["--modality", "CT", "--modality", "MR"], [0, 1, 2, 3, 4]),
        (["--plane", "coronal"], [0]),
        (["--window", "brain", "--window", "bone"], [1]),
        (["--window", "brain", "--flag", "GANTRY_TILT"], []),  # not one and the same scan
        (["--window", "bone", "--flag", "gantry_tilt"], [1]),
        (["--min-scans", 3], [0]),
        (["--min-scans", 2, "--plane", "axial", "--modality", "MR"], [0, 2, 3, 4]),
        (["--split", "test"], [2]),
        (["--sex", "M"], [1]),
        (["--age", "41-43"], [1, 3]),
        (["--age", "88"], [0]),
        (["--age", "44-"], [0, 4]),
        (["--age", "-41"], [1]),
        (["--label", "mass=1"], [1, 2, 3]),
        (["--label", "mass=1", "--label", "bleed=0"], [2]),
        (["--label", "bleed=unknown"], [0, 1, 3, 4]),
        (["--where", "echo_time_ms<30"], [0]),
        (["--where", "echo_time_ms<30", "--plane", "axial"], []),
        (["--where", "echo_time_ms >= 90.5"], [0, 2, 3, 4]),
        (["--where", "manufacturer=siemens"], [0]),
        (["--where", "manufacturer!=SIEMENS"], [0, 2, 3, 4]),  # the CT has none: not `!=` either
        (["--where", "sex!=F"], [1]),
        (["--where", "kvp_kv==120", "--where", "depth_spacing_mm<5"], [1]),
        (["--where", "num_sentences>2"], [0]),
        (["--where", "report_chars=0"], [1, 4]),
        (["--where", "source_height>256"], []),
        (["--text", "infarct"], [0, 3]),
        (["--text", "acute infarct"], [0]),
        (["--text", '"acute infarct"'], [0]),
        (["--text", '"infarct acute"'], []),
        (["--text", '"infarct nothing"'], []),
        (["--text", "farct"], []),
        (["--text", "farct", "--regex"], [0, 3]),
        (["--text", "^no (acute|mass)", "--regex"], [0, 1]),
        (["--text", "acute", "--modality", "CT"], [1]),
        (["--text", "acute", "--where", "echo_time_ms<30"], [0]),
        (["--text", "superseding"], [4]),
        (["--text", '"Finding 4"'], []),
    ],
)
def test_what_is_found(run: Callable[..., str], arguments: list[object], found: list[int]) -> None:
    assert run(*arguments, "--keys").split() == [key_of(number) for number in found]


@pytest.mark.parametrize(("sex", "number"), [("F", 4), ("M", 1), ("O", 0)])
def test_all_forms_of_output_agree(run: Callable[..., str], sex: str, number: int) -> None:
    keys = run("--sex", sex, "--keys").split()
    assert [json.loads(line)["key"] for line in run("--sex", sex, "--json").splitlines()] == keys
    *lines, last = run("--sex", sex).splitlines()
    assert [line.split()[0] for line in lines] == keys
    assert last == ("1 study" if number == 1 else f"{number} studies")
    assert len(keys) == number


def test_json_says_where_it_was_found(run: Callable[..., str]) -> None:
    (line,) = run("--text", "acute infarct", "--plane", "coronal", "--json").splitlines()
    match = json.loads(line)
    assert match["scans"] == [1]
    assert match["num_scans"] == 3
    assert match["said"] == [
        {"where": "model", "text": "Infarct, acute.", "spans": [[0, 7], [9, 14]]},
        {"where": "offline", "text": "Acute infarct.", "spans": [[0, 5], [6, 13]]},
        {"where": "report", "text": "FINDINGS: Acute infarct.", "spans": [[10, 15], [16, 23]]},
    ]


def test_numbers_of_scans_are_those_in_their_study(run: Callable[..., str]) -> None:
    lines = map(json.loads, run("--where", "series_index=1", "--json").splitlines())
    assert [(line["key"], line["scans"]) for line in lines] == [
        (key_of(0), [2]),
        (key_of(2), [1]),
        (key_of(3), [1]),
        (key_of(4), [1]),
    ]


def test_people_see_key_split_and_sentence(run: Callable[..., str]) -> None:
    lines = run("--text", "infarct").splitlines()
    assert lines == [
        f"{key_of(0)}  train  MR  3 of 3 scans",
        "  model: Infarct, acute.",
        "  offline: Acute infarct.",
        f"{key_of(3)}  train  MR  2 of 2 scans",
        "  report: Old infarct;",
        "2 studies",
    ]
    assert "\x1b" not in run("--text", "red", "--regex")


def test_a_limit_stops_the_search(run: Callable[..., str]) -> None:
    assert run("--limit", 2).splitlines()[-1] == "2 studies, stopped at --limit 2"
    assert run("--limit", 2, "--keys").split() == [key_of(0), key_of(1)]
    assert run("--limit", 2, "--keys", stderr=True) == "2 studies, stopped at --limit 2\n"
    assert run("--limit", 9, "--text", "infarct").endswith("2 studies\n")


def test_metadata_is_answered_without_a_tar(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., str]
) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("a tar was read")

    monkeypatch.setattr(Dataset, "metadata", opened)
    asked = ["--window", "bone", "--age", "41", "--where", "kvp_kv=120", "--label", "mass=1"]
    assert run(*asked, "--keys").split() == [key_of(1)]
    with pytest.raises(AssertionError, match="a tar was read"):
        list(find(Dataset.open(dataset), Query(words=words.words("acute"))))


def test_only_studies_that_pass_are_opened(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, heard = [], []
    metadata = Dataset.metadata

    def counted(self: Dataset, ref: Any) -> dict[str, Any]:
        read.append(ref.key)
        return metadata(self, ref)

    monkeypatch.setattr(Dataset, "metadata", counted)
    query = Query(modality=("MR",), words=words.words("acute"))
    matches = list(find(Dataset.open(dataset), query, lambda done, of: heard.append((done, of))))
    assert [match.key for match in matches] == [key_of(0), key_of(3)]
    assert sorted(read) == [key_of(n) for n in (0, 2, 3, 4)]
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "echo<3"], "no field 'echo'; there are: .*echo_time_ms"),
        (["--where", "echo_time_ms"], "not FIELD, one of"),
        (["--where", "echo_time_ms<soon"], "is a number"),
        (["--where", "manufacturer<GE"], "use = or !="),
        (["--where", "manufacturer=ACME"], "never 'ACME'; it is one of: BRUKER, CANON"),
        (["--where", "plane=oblique"], "axial, coronal, sagittal"),
        (["--window", "brian"], "no such window; there are: bone, brain, percentile"),
        (["--label", "tumour=1"], "no such label; there are: bleed, mass"),
        (["--label", "mass"], "not NAME=VALUE"),
        (["--label", "mass=yes"], "not NAME=VALUE"),
        (["--modality", "US"], "not one of CT, MR"),
        (["--flag", "TILT"], "GANTRY_TILT"),
        (["--sex", "W"], "F, M, O"),
        (["--split", "dev"], "train, valid, test"),
        (["--age", "old"], "not LOW-HIGH"),
        (["--age", "60-40"], "not LOW-HIGH"),
        (["--age", "-"], "not LOW-HIGH"),
        (["--text", ' "" '], "no words"),
        (["--where", "echo_time_ms<nan"], "is a number"),
        (["--text", "[", "--regex"], "unterminated"),
        (["--regex"], "no --text"),
        (["--keys", "--json"], "one of the two"),
    ],
)
def test_what_cannot_be_asked(run: Callable[..., str], arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(*arguments)


def test_keys_go_into_preview(dataset: Path, run: Callable[..., str], tmp_path: Path) -> None:
    keys = run("--text", "infarct", "--keys")
    file = tmp_path / "found.html"

    def preview(given: str, *arguments: str) -> Any:
        asked = ["preview", str(dataset), "-o", str(file), *arguments]
        return CliRunner().invoke(app, asked, input=given)

    assert preview(keys, "-").exit_code == 0
    from_pipe = file.read_text()
    assert preview("", *keys.split()).exit_code == 0  # as xargs would give them
    assert file.read_text() == from_pipe
    assert [f'<section id="{key_of(n)}"' in from_pipe for n in range(5)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["found.html"]
    assert isinstance(preview("", "-").exception, UserError)


@given(st.text(max_size=80))
def test_a_report_in_pieces_is_the_report(report: str) -> None:
    assert "".join(words.pieces(report)) == report


def test_pieces_are_sentences() -> None:
    text = "FINDINGS: No mass. Left 1.5 cm\ncyst.\n\nIMPRESSION: Normal."
    assert [piece.strip() for piece in words.pieces(text)] == [
        "FINDINGS: No mass.",
        "Left 1.5 cm",
        "cyst.",
        "IMPRESSION: Normal.",
    ]


@given(st.text(st.characters(exclude_characters='"'), max_size=20), st.text(), st.text())
def test_a_phrase_is_found_wherever_it_stands(term: str, before: str, after: str) -> None:
    term = words.composed(term).strip()
    if term:
        sentence = words.composed(f"{before} {term} {after}")
        spans = words.words(f'"{term}"').spans(sentence)
        assert spans
        assert all(0 <= start < end <= len(sentence) for start, end in spans)


def test_spans_of_two_words_are_merged() -> None:
    assert words.words("acute ac infarct").spans("Acute infarct") == [(0, 5), (6, 13)]
    assert words.words("acute mass").spans("Acute infarct") is None


def test_every_field_is_the_fact_it_names(dataset: Path) -> None:
    opened = Dataset.open(dataset)
    table = opened.table()
    study = {name: field(table)[0].as_py() for name, field in condition.STUDY_FIELDS.items()}
    assert study == {
        "num_scans": 3,
        "num_series": 2,
        "num_sentences": 3,
        "report_chars": 33,
        "age_years": 88,
        "sex": "F",
        "bytes": sum(address.length for address in opened.samples()[0].scans)
        + opened.samples()[0].metadata.length,
    }
    scans = table["scans"].combine_chunks().flatten()
    facts = opened.metadata(opened.samples()[0])["scans"][1]
    scan = {name: field(scans)[1].as_py() for name, field in condition.SCAN_FIELDS.items()}
    for prefix, shape, spacing in (
        ("", "shape", "spacing_mm"),
        ("source_", "source_shape", "source_spacing_mm"),
    ):
        axes = [f"{prefix}{axis}" for axis in ("depth", "height", "width")]
        assert [scan.pop(axis) for axis in axes] == facts[shape]
        assert [scan.pop(f"{axis}_spacing_mm") for axis in axes] == facts[spacing]
    assert {name: value for name, value in scan.items() if value is not None} == {
        "modality": "MR",
        "plane": "coronal",
        "source_plane": "axial",
        "window": "percentile",
        "series_index": 0,
        "echo_time_ms": 12.0,
        "manufacturer": "SIEMENS",
    }
