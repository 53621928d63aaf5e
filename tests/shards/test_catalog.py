import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import plain_index
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_studies import key_of, make_dataset, study_of

from shards import commit, index, layout, sidecar
from shards.catalog import DatasetInfo, finish_dataset, read_info
from shards.index import Address
from shards.reader import Dataset
from shards.store import store_at
from shards.verify import verify
from shards.writer import ShardWriter, committed
from study.errors import UserError
from study.records import Reason

ADDRESS = Address("x.s00.npy", 512, 100, 128, (4, 6, 5), "uint8", "npy", 7)


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


def test_dataset_json_proves_all_other_books(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    info = read_info(tmp_path)
    shards = {part(n) for n in committed(tmp_path) for part in commit.PARTS}
    assert set(info.files) == {p.name for p in tmp_path.iterdir()} - shards - {"dataset.json"}
    for name, sha256 in info.files.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha256


def test_a_changed_dataset_json_is_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    path = tmp_path / "dataset.json"
    path.write_text(path.read_text().replace('"num_scans": 12', '"num_scans": 13'))
    with pytest.raises(UserError, match="changed after it was written"):
        read_info(tmp_path)


def test_the_index_does_not_depend_on_how_it_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(tmp_path, shards=3)
    with ShardWriter(tmp_path, 3, "zstd") as writer:
        writer.add(study_of(4, split="valid"))
        writer.add(study_of(99, scans=0))
    expected = plain_index.latest(plain_index.build(tmp_path, range(4)))
    for row_group, ahead in ((1 << 16, 32), (4, 2)):
        monkeypatch.setattr("shards.catalog.ROW_GROUP", row_group)
        monkeypatch.setattr("shards.census.AHEAD", ahead)
        info = finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
        assert index.load(tmp_path) == expected
        assert info.by_status == {"used": 10, "superseded": 1, "rejected": 3}
        assert (info.num_scans, info.by_split["valid"]) == (18, 3)


def test_a_study_that_is_rejected_later_loses_its_sample(tmp_path: Path) -> None:
    make_dataset(tmp_path, shards=2)
    with ShardWriter(tmp_path, 2, "none") as writer:
        writer.reject(key_of(4), key_of(1004), "train", Reason.NO_REPORT)
        writer.add(study_of(500))  # rejected in shard 0
    info = finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    keys = {ref.key for ref in Dataset.open(tmp_path).samples()}
    assert keys == {key_of(n) for n in (0, 1, 2, 3, 5, 500)}
    assert info.by_status == {"used": 6, "superseded": 2, "rejected": 2}
    assert info.by_reason == {"NO_REPORT": 1, "NO_SCANS": 1}
    assert not verify(tmp_path).problems


@pytest.mark.slow
def test_many_studies_are_finished_in_bounded_memory(tmp_path: Path) -> None:
    """Tables and records of 50,000 studies."""
    rows = [
        sidecar.used_row(layout.study_to_json(study_of(n, scans=10)), [ADDRESS] * 11)
        for n in range(1000)
    ]
    table = pa.Table.from_pylist(rows, schema=sidecar.SCHEMA)
    for shard in range(50):
        keys = [f"{shard:03d}{row['key'][3:]}" for row in rows]
        table = table.set_column(0, sidecar.SCHEMA.field("key"), pa.array(keys))
        pq.write_table(table, tmp_path / commit.parquet_name(shard), compression="zstd")
        size = (tmp_path / commit.parquet_name(shard)).stat().st_size
        commit.write_record(store_at(tmp_path), record(shard, len(rows), size))
    code = (
        "import resource, sys; from shards.catalog import finish_dataset\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = used()\n"
        "finish_dataset(sys.argv[1], fingerprint='f', provenance={}, settings={})\n"
        "print((used() - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=True)
    assert int(done.stdout) < 600  # MiB; objects of Python take 27 KB a study


def record(shard: int, count: int, parquet_bytes: int) -> commit.ShardStats:
    """The commit record of a shard whose tar was never there."""
    return commit.ShardStats(
        shard=shard,
        content="content",
        count=count,
        successes=count,
        rejected={},
        splits={"train": count},
        num_scans=10 * count,
        histograms={},
        tar_bytes=0,
        tar_sha256="",
        parquet_bytes=parquet_bytes,
        parquet_sha256="",
        seconds=1.0,
    )


def test_an_empty_folder_makes_an_empty_dataset(tmp_path: Path) -> None:
    info = finish_dataset(tmp_path / "new", fingerprint="f", provenance={}, settings={})
    assert isinstance(info, DatasetInfo)
    assert (info.num_studies, info.shape, info.by_split) == (0, None, {})
