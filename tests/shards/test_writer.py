import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from made_studies import key_of, make_dataset, studies, study_of, write_shard

from shards import commit, index
from shards.codec import decode
from shards.reader import Dataset
from shards.writer import ShardWriter, committed, discard_uncommitted, finish_dataset
from study.records import Reason, Study

FILES = ("00000.tar", "00000.parquet")


def finish(dataset: Path) -> None:
    finish_dataset(dataset, fingerprint="f", provenance={}, settings={})


def hashes(dataset: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dataset.iterdir()}


def whole_shards(dataset: Path) -> list[int]:
    """Numbers of committed shards, after proving that their bytes are those of their records."""
    for shard, stats in committed(dataset).items():
        found = hashes(dataset)
        assert found[commit.tar_name(shard)] == stats.tar_sha256
        assert found[commit.parquet_name(shard)] == stats.parquet_sha256
        assert len(index.build(dataset, [shard])) == stats.successes
    return sorted(committed(dataset))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(one=studies(1), other=studies(2))
def test_reading_gives_the_written_study(
    tmp_path_factory: pytest.TempPathFactory, one: Study, other: Study
) -> None:
    for compression in ("none", "zstd"):
        dataset = tmp_path_factory.mktemp("dataset")
        with ShardWriter(dataset, 0, compression) as writer:
            writer.add(one)
            writer.add(other)
        finish(dataset)
        opened = Dataset.open(dataset)
        assert opened.study(one.key) == one
        assert opened.study(other.key) == other


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_stock_webdataset_reads_a_shard(tmp_path: Path, compression: str) -> None:
    write_shard(tmp_path, 0, range(3), compression)
    shard = webdataset.WebDataset(str(tmp_path / "00000.tar"), shardshuffle=False)
    samples = list(shard.decode() if compression == "none" else shard)
    assert [sample["__key__"] for sample in samples] == [key_of(n) for n in range(3)]
    for number, sample in enumerate(samples):
        study = study_of(number)
        meta = sample["json"] if compression == "none" else json.loads(sample["json"])
        assert meta["report"]["sentences"]["offline"] == list(study.report.sentences["offline"])
        for place, scan in enumerate(study.scans):
            if compression == "none":
                array = sample[f"s{place:02d}.npy"]
            else:
                array = decode(sample[f"s{place:02d}.npy.zst"], "npy.zst")
            assert np.array_equal(array, scan.array)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_equal_studies_give_equal_bytes(tmp_path: Path, compression: str) -> None:
    for name in ("a", "b"):
        make_dataset(tmp_path / name, compression=compression)
        time.sleep(0.01)
    a, b = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    assert a.keys() == b.keys()
    assert {name for name in a if a[name] != b[name]} <= {"00000_stats.json", "00001_stats.json"}
    records = [committed(tmp_path / name) for name in ("a", "b")]
    for shard in records[0]:
        one, other = (
            record[shard].model_copy(update={"seconds": 0.0, "sha256": ""}) for record in records
        )
        assert one == other


def test_nothing_of_the_host_is_in_the_tar(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, range(2))
    listed = subprocess.run(
        ["tar", "tvf", tmp_path / "00000.tar", "--numeric-owner", "--utc"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(listed) == 6
    assert all(line.startswith("-rw-r--r-- 0/0") and "1970-01-01 00:00" in line for line in listed)


def test_the_table_has_a_row_for_every_study(tmp_path: Path) -> None:
    make_dataset(tmp_path, shards=1)
    rows = pq.read_table(tmp_path / "00000.parquet").to_pylist(maps_as_pydicts="strict")
    assert [row["status"] for row in rows] == ["used"] * 3 + ["rejected"]
    assert rows[3]["reason"] == "NO_SCANS"
    assert rows[0]["num_sentences"] == {"offline": 2}
    assert rows[1]["labels"] == {"mass": 1.0}
    assert rows[0]["scans"][1]["flags"] == ["GANTRY_TILT"]
    stats = committed(tmp_path)[0]
    assert (stats.count, stats.successes, stats.rejected) == (4, 3, {"NO_SCANS": 1})
    assert stats.splits == {"test": 1, "train": 1, "valid": 1}
    assert stats.content == "content 0"
    assert sum(stats.histograms["MR percentile"]) == 3 * 2 * 4 * 6 * 5


def test_a_shard_without_any_success_is_committed_without_a_tar(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 7, "none", content="c") as writer:
        writer.reject(key_of(1), key_of(2), "test", Reason.NO_SCANS)
    assert writer.stats == committed(tmp_path)[7]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00007.parquet", "00007_stats.json"]
    assert discard_uncommitted(tmp_path) == []
    finish(tmp_path)
    assert len(Dataset.open(tmp_path)) == 0
    assert json.loads((tmp_path / "sizes.json").read_text()) == {}


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ShardWriter(tmp_path, 0, "none") as writer:
            writer.add(study_of(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_is_refused_does_not_spoil_the_shard(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, "none") as writer:
        writer.add(study_of(0))
        with pytest.raises(ValueError, match="age_years"):
            writer.add(replace(study_of(1), age_years=100))
        writer.reject(key_of(1), key_of(9), "train", Reason.UNREADABLE)
        with pytest.raises(ValueError, match="twice"):
            writer.add(study_of(0))
        with pytest.raises(ValueError, match="split"):
            writer.reject(key_of(2), key_of(9), "all", Reason.UNREADABLE)
    assert [sample.key for sample in index.build(tmp_path, [0])] == [key_of(0)]


def test_half_shards_are_not_committed_and_are_discarded(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, range(2))
    write_shard(tmp_path, 1, range(2, 4))
    tar = tmp_path / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:-512])
    (tmp_path / "00002.tar").write_bytes(b"x")
    (tmp_path / "00003_stats.json").write_text("{")
    (tmp_path / ".00004.tar.abc.tmp").write_text("half")
    (tmp_path / "notes.parquet").write_text("of the user")
    assert list(committed(tmp_path)) == [0]
    gone = discard_uncommitted(tmp_path)
    assert sorted(gone) == [
        ".00004.tar.abc.tmp",
        "00001.parquet",
        "00001.tar",
        "00001_stats.json",
        "00002.tar",
        "00003_stats.json",
    ]
    assert (tmp_path / "notes.parquet").exists()
    assert whole_shards(tmp_path) == [0]


KILLED = """
import os, signal, sys
from pathlib import Path
from made_studies import study_of
from shards import files
from shards.writer import ShardWriter

def run(dataset, fatal):
    "Write shard 0, and be killed before the call number `fatal` to the file system."
    calls = 0
    def counted(real):
        def call(*args, **options):
            nonlocal calls
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return real(*args, **options)
        return call
    os.fsync, Path.replace = counted(os.fsync), counted(Path.replace)
    Path.unlink = counted(Path.unlink)
    with ShardWriter(dataset, 0, "none", content="new") as writer:
        writer.add(study_of(1))

for fatal in range(13):
    child = os.fork()
    if not child:
        run(Path(sys.argv[1]) / str(fatal), fatal)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_killed_before_any_step_of_the_commit(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "0", 0, "none", content="old") as writer:
        writer.add(study_of(0))
    for fatal in range(1, 13):
        shutil.copytree(tmp_path / "0", tmp_path / str(fatal))
    subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], check=True, env=environment(), timeout=60
    )
    seen = []
    for fatal in range(13):
        dataset = tmp_path / str(fatal)
        whole_shards(dataset)
        found = committed(dataset)
        seen.append(found[0].content if found else "none")
        discard_uncommitted(dataset)
        assert {path.name for path in dataset.iterdir()} <= {*FILES, "00000_stats.json"}
        if fatal % 4 == 0:
            write_shard(dataset, 0, range(1))
            assert whole_shards(dataset) == [0]
    assert seen == sorted(seen, key=("old", "none", "new").index)
    assert set(seen) == {"old", "none", "new"}


ENDLESS = """
import sys
from pathlib import Path
from made_studies import write_shard
for shard in range(1000):
    write_shard(Path(sys.argv[1]), shard, range(shard, shard + 1), "zstd", shape=(8, 64, 64))
"""


def test_killed_at_random_moments(tmp_path: Path) -> None:
    for seed in range(3):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS, tmp_path], env=environment())
        deadline = time.monotonic() + 30
        while not committed(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0.0, 0.2))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert whole_shards(tmp_path)
        discard_uncommitted(tmp_path)
        done = whole_shards(tmp_path)
        finish(tmp_path)
        opened = Dataset.open(tmp_path)
        assert len(opened) == len(done)
        for ref in opened.samples():
            assert opened.read_study(ref) == study_of(int(ref.key, 16), shape=(8, 64, 64))


def environment() -> dict[str, str]:
    here = Path(__file__).resolve()
    return {**os.environ, "PYTHONPATH": f"{here.parents[2]}{os.pathsep}{here.parent}"}
