"""What a dataset says about itself, to readers that know no dicom2clip."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
from made_studies import key_of, make_dataset, study_of
from PIL import Image

from shards import card, cover
from shards.reader import Dataset
from shards.writer import ShardWriter, committed, finish_dataset
from study.records import Reason


def code_of(dataset: Path) -> str:
    """The Python lines of a dataset's README."""
    return (dataset / "README.md").read_text().split("```python\n")[1].split("```")[0]


def gappy_dataset(dataset: Path, compression: str = "zstd") -> None:
    """Shards 0, 1, 2 and 4 with studies; in shard 3 none succeeded."""
    for shard in (0, 1, 2, 4):
        with ShardWriter(dataset, shard, compression) as writer:
            for number in (2 * shard, 2 * shard + 1):
                writer.add(study_of(number, split="train" if number % 3 else "test", scans=3))
    with ShardWriter(dataset, 3, compression) as writer:
        writer.reject(key_of(700), key_of(701), "train", Reason.NO_SCANS)
    finish_dataset(dataset, fingerprint="f" * 64, provenance={}, settings={}, name="gaps")


# -------------------------------------------------------------------------------- README.md


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_the_five_lines_of_the_readme_read_every_study(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gappy_dataset(tmp_path, compression)
    lines = code_of(tmp_path).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= 100
    monkeypatch.chdir(tmp_path)
    seen: dict[str, tuple[dict[str, Any], list[np.ndarray]]] = {}
    exec("\n".join([*lines, "    seen[study['key']] = study, scans"]), {"seen": seen})
    dataset = Dataset.open(tmp_path)
    assert len(seen) == len(dataset.samples()) == 8
    for ref in dataset.samples():
        study, scans = seen[ref.key]
        assert study == dataset.metadata(ref)
        assert len(scans) == 3
        for number, scan in enumerate(scans):
            assert np.array_equal(scan, dataset.read_scan(ref, number))


def test_the_urls_name_the_tars_that_are_there(tmp_path: Path) -> None:
    gappy_dataset(tmp_path)
    assert card.urls(committed(tmp_path)) == "{00000..00002}.tar::00004.tar"
    assert card.urls({}) == ""


def test_numbers_of_six_digits_are_a_range_of_their_own() -> None:
    stats = committed_stats()
    numbers = (99_998, 99_999, 100_000, 100_001)
    assert card.urls(dict.fromkeys(numbers, stats)) == "{99998..99999}.tar::{100000..100001}.tar"


def committed_stats() -> Any:
    class Stats:
        tar_bytes = 1

    return Stats()


def test_the_readme_counts_and_warns(tmp_path: Path) -> None:
    gappy_dataset(tmp_path)
    text = (tmp_path / "README.md").read_text()
    for line in ("| studies | 8 |", "| scans | 24 |", "| split test | 3 |", "| modality MR | 8 |"):
        assert line in text
    assert "| rejected, NO_SCANS | 1 |" in text
    assert "**Protected data.**" in text
    for named in re.findall(r"`([a-z.]+\.(?:json|parquet))`", text):
        assert (tmp_path / named).exists(), named


# -------------------------------------------------------------------------------- preview.png


def test_the_picture_shows_studies_of_the_train_split_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    sheet = cover.contact_sheet

    def spy(studies: Any, **how: Any) -> Any:
        shown.extend(studies)
        return sheet(studies, **how)

    monkeypatch.setattr(cover, "contact_sheet", spy)
    gappy_dataset(tmp_path)
    assert [study.key for study in shown] == [key_of(n) for n in (1, 2, 4)]
    assert f"]({cover.PICTURE_FILE})" in (tmp_path / "README.md").read_text()
    with Image.open(tmp_path / cover.PICTURE_FILE) as picture:
        picture.load()
        assert not picture.info, "no time, no software"
        assert np.asarray(picture).std() > 20


def test_a_superseded_study_is_not_shown_and_an_unreadable_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shard in (0, 1):
        with ShardWriter(tmp_path, shard, "none") as writer:
            for number in (1, 2) if shard == 0 else (1, 3):
                writer.add(study_of(number))
    payload = cover._payload
    broken = key_of(2)
    monkeypatch.setattr(
        cover,
        "_payload",
        lambda place, ref, address: payload(place, ref, address)[
            : 9 if ref.key == broken else None
        ],
    )
    shown: list[Any] = []
    monkeypatch.setattr(cover, "STUDIES", 9)
    sheet = cover.contact_sheet
    monkeypatch.setattr(
        cover, "contact_sheet", lambda studies, **how: (shown.extend(studies), sheet(studies))[1]
    )
    finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    assert [study.key for study in shown] == [key_of(1), key_of(3)]


def test_without_a_study_to_train_on_there_is_no_picture(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    assert (tmp_path / cover.PICTURE_FILE).exists()
    with ShardWriter(tmp_path / "other", 0, "none") as writer:
        writer.add(study_of(1, split="test"))
    finish_dataset(tmp_path / "other", fingerprint="f", provenance={}, settings={})
    assert not (tmp_path / "other" / cover.PICTURE_FILE).exists()
    assert "](" not in (tmp_path / "other" / "README.md").read_text()
    assert "preview.png" not in (tmp_path / "other" / "croissant.json").read_text()


# -------------------------------------------------------------------------------- croissant.json


def test_mlcroissant_finds_nothing_wrong(tmp_path: Path) -> None:
    gappy_dataset(tmp_path)
    metadata = mlcroissant.Dataset(tmp_path / "croissant.json").metadata
    assert (metadata.ctx.issues.errors, metadata.ctx.issues.warnings) == (set(), set())
    assert metadata.ctx.is_v1_1()
    assert metadata.name == {"en": "gaps"} or metadata.name == "gaps"


def test_mlcroissant_would_find_something(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    gappy_dataset(tmp_path)
    facts = json.loads((tmp_path / "croissant.json").read_text())
    del facts["datePublished"]
    assert mlcroissant.Dataset(facts).metadata.ctx.issues.warnings
    facts["distribution"][-1]["containedIn"] = {"@id": "nowhere.tar"}
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(facts)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_the_studies_load_with_mlcroissant(tmp_path: Path, compression: str) -> None:
    make_dataset(tmp_path, compression=compression)
    records = list(mlcroissant.Dataset(tmp_path / "croissant.json").records("studies"))
    table = Dataset.open(tmp_path).table().to_pylist()
    assert len(records) == len(table) == 8
    for record, row in zip(records, table, strict=True):
        for name in ("key", "patient", "split", "status", "reason", "sex"):
            assert (record[f"studies/{name}"] or b"").decode() == (row[name] or "")
        assert record["studies/age_years"] == row["age_years"]
        if row["status"] == "used":
            scans = record["studies/scans"]
            assert len(scans) == row["num_scans"] == 2
            assert [s["studies/scans/spacing_mm"] for s in scans] == [[5.0, 2.0, 2.0]] * 2
            assert scans[0]["studies/scans/acquisition.echo_time_ms"] == 90.5
            assert scans[1]["studies/scans/flags"] == [b"GANTRY_TILT"]


def test_the_members_load_with_mlcroissant_and_lie_where_they_say(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    records = list(mlcroissant.Dataset(tmp_path / "croissant.json").records("members"))
    assert len(records) == 6 * 3
    for record in records:
        told = {name.removeprefix("members/"): value for name, value in record.items()}
        tar = (tmp_path / f"{told['shard']:05d}.tar").read_bytes()
        payload = tar[told["offset"] : told["offset"] + told["length"]]
        if told["codec"] == b"json":
            assert json.loads(payload)["key"] == told["key"].decode()
        else:
            data = np.frombuffer(payload[told["array_offset"] :], told["dtype"].decode())
            assert len(data) == np.prod(told["shape"])


def test_croissant_names_every_file_with_its_size_and_hash(tmp_path: Path) -> None:
    gappy_dataset(tmp_path)
    facts = json.loads((tmp_path / "croissant.json").read_text())
    assert facts["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    files = {p["@id"]: p for p in facts["distribution"] if p["@type"] == "cr:FileObject"}
    own = {"dataset.json", "croissant.json", "README.md", "sizes.json"}
    there = {path.name for path in tmp_path.iterdir() if not path.name.endswith("_stats.json")}
    assert set(files) == there - own
    for name, file in files.items():
        data = (tmp_path / name).read_bytes()
        assert file["contentSize"] == f"{len(data)} B"
        assert file["sha256"] == hashlib.sha256(data).hexdigest()


def test_an_empty_dataset_is_described_too(tmp_path: Path) -> None:
    finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    metadata = mlcroissant.Dataset(tmp_path / "croissant.json").metadata
    assert (metadata.ctx.issues.errors, metadata.ctx.issues.warnings) == (set(), set())
    assert 'WebDataset("", ' in code_of(tmp_path)
