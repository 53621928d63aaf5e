import json
from dataclasses import replace
from pathlib import Path

import pytest
import webdataset
from made_studies import make_dataset, study_of

from shards.catalog import DatasetInfo, finish_dataset, read_info
from shards.writer import ShardWriter, committed


def test_the_books_agree(tmp_path: Path) -> None:
    info = make_dataset(tmp_path)
    assert read_info(tmp_path) == info
    assert (info.num_studies, info.num_scans, info.num_patients, info.num_shards) == (6, 12, 6, 2)
    assert info.by_split == {"test": 2, "train": 2, "valid": 2}
    assert info.by_status == {"used": 6, "rejected": 2}
    assert info.by_reason == {"NO_SCANS": 2}
    assert info.shape == (4, 6, 5)
    assert 120 < info.intensity["MR percentile"]["mean"] < 135
    assert json.loads((tmp_path / "sizes.json").read_text()) == {"00000.tar": 3, "00001.tar": 3}


def test_finishing_again_changes_no_byte(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    facts = {"provenance": {"numpy": "2"}, "settings": {"grid": {"depth": 4}}}
    finish_dataset(tmp_path, fingerprint="f" * 64, **facts)  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, "none") as writer:
        writer.add(study_of(1, split="train"))
        writer.add(replace(study_of(2, split="test"), patient=study_of(1).patient))
    with pytest.raises(ValueError, match="more than one split"):
        finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    assert not (tmp_path / "dataset.json").exists()


def test_only_the_shards_that_are_asked_for(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    info = finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={}, shards=[1])
    assert (info.num_shards, info.num_studies) == (1, 3)


def test_croissant_names_every_file_with_its_hash(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    card = json.loads((tmp_path / "croissant.json").read_text())
    assert card["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    by_id = {part["@id"]: part for part in card["distribution"]}
    for shard, stats in committed(tmp_path).items():
        assert by_id[f"{shard:05d}.tar"]["sha256"] == stats.tar_sha256
        assert by_id[f"{shard:05d}.parquet"]["sha256"] == stats.parquet_sha256
    for part in card["distribution"]:
        assert all(parent["@id"] in by_id for parent in part.get("containedIn", []))
    for records in card["recordSet"]:
        for field in records["field"]:
            assert next(iter(field["source"].values()))["@id"] in by_id


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_the_five_lines_of_the_readme_run(
    tmp_path: Path,
    compression: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_dataset(tmp_path, compression=compression)
    text = (tmp_path / "README.md").read_text()
    assert "Protected data" in text
    code = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(code, {"webdataset": webdataset})
    assert capsys.readouterr().out.count("s01.npy") == 3


def test_an_empty_folder_makes_an_empty_dataset(tmp_path: Path) -> None:
    info = finish_dataset(tmp_path / "new", fingerprint="f", provenance={}, settings={})
    assert isinstance(info, DatasetInfo)
    assert (info.num_studies, info.shape, info.by_split) == (0, None, {})
