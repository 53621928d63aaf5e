import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import plain_index
import pyarrow.parquet as pq
import pytest
import webdataset
from fatal import environment
from hypothesis import HealthCheck, given, settings
from made_studies import key_of, make_dataset, studies, study_of, write_shard

from shards import commit, store
from shards.codec import decode
from shards.reader import Dataset
from shards.repair import repair
from shards.verify import verify
from shards.writer import ShardWriter, committed, discard_uncommitted, finish_dataset
from study.errors import UserError
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
        assert len(plain_index.build(dataset, [shard])) == stats.successes
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
    assert [sample.key for sample in plain_index.build(tmp_path, [0])] == [key_of(0)]


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
import os, sys
from pathlib import Path
from fatal import die_at
from made_studies import study_of
from shards.writer import ShardWriter

for fatal in range(13):
    child = os.fork()
    if not child:
        die_at(fatal)
        with ShardWriter(Path(sys.argv[1]) / str(fatal), 0, "none", content="new") as writer:
            writer.add(study_of(1))
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
from shards.repair import repair
from shards.writer import committed, discard_uncommitted, finish_dataset
folder = Path(sys.argv[1])
discard_uncommitted(folder)
start = max(committed(folder), default=-1) + 1
for shard in range(start, start + 1000):
    compression = ("none", "zstd")[shard % 2]
    write_shard(folder, shard, range(shard, shard + 2), compression, shape=(8, 64, 64))
    finish_dataset(folder, fingerprint="f", provenance={}, settings={})
    if shard % 2:
        (folder / f"{shard:05d}_stats.json").unlink()
        (folder / "sizes.json").unlink()
        repair(folder)
    if shard % 3 == 2:
        write_shard(folder, shard - 1, range(shard - 1, shard + 1), "zstd", shape=(8, 64, 64))
        finish_dataset(folder, fingerprint="f", provenance={}, settings={})
"""
"""Writes shards, finishes the dataset, loses books and repairs them, replaces shards."""
KILLS = 3 if int(os.environ.get("DICOM2CLIP_SOAK", "1")) == 1 else 50


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(KILLS):
        seconds = random.Random(seed)
        if seed % 10 == 0:
            shutil.rmtree(tmp_path / "data", ignore_errors=True)
            (tmp_path / "data").mkdir()
        dataset = tmp_path / "data"
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS, dataset], env=environment())
        before = set(dataset.iterdir())
        deadline = time.monotonic() + 30
        while not (committed(dataset) and set(dataset.iterdir()) != before):
            assert time.monotonic() < deadline, "nothing is written"
            time.sleep(0.01)
        time.sleep(seconds.uniform(0.0, 0.5))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        seen["readable" if (dataset / "dataset.json").exists() else "unfinished"] += 1
        what_readers_see_is_right(dataset)
        repair(dataset)
        assert verify(dataset).problems == ()
        assert (dataset / "dataset.json").exists()
        what_readers_see_is_right(dataset)
    assert KILLS < 50 or set(seen) == {"readable", "unfinished"}


def what_readers_see_is_right(dataset: Path) -> None:
    """Either there is no dataset to a reader, or all that it reads is what was written."""

    def expected(key: str) -> Study:
        return study_of(int(key, 16), shape=(8, 64, 64))

    sizes = {}
    for tar in sorted(dataset.glob("*.tar")):
        found = list(webdataset.WebDataset(str(tar), shardshuffle=False))
        sizes[tar.name] = len(found)
        for sample in found:
            study = expected(sample["__key__"])
            names = [name for name in sample if ".npy" in name]
            assert len(names) == len(study.scans)
            for name, scan in zip(sorted(names), study.scans, strict=True):
                kind = "npy.zst" if name.endswith("zst") else "npy"
                assert np.array_equal(decode(sample[name], kind), scan.array)
    try:
        opened = Dataset.open(dataset)
    except UserError:
        return
    for ref in opened.samples():
        assert opened.read_study(ref) == expected(ref.key)
    if (dataset / "sizes.json").exists():  # the writer above takes it away on purpose
        told = json.loads((dataset / "sizes.json").read_text())
        assert told.items() <= sizes.items()


def test_a_file_system_without_room_leaves_nothing_that_reads_as_good(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: a write past the limit fails as one on a full disk does."""
    make_dataset(tmp_path / "0")
    before = hashes(tmp_path / "0")
    limits = [100, 5_000, 25_000, 45_000, 47_000, 60_000]
    for limit in limits:
        shutil.copytree(tmp_path / "0", tmp_path / str(limit))
    command = [sys.executable, "-c", FULL, tmp_path, *map(str, limits)]
    run = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    outcomes = dict(line.split(": ", 1) for line in run.stdout.splitlines())
    assert set(outcomes.values()) == {"written", "File too large"}
    for limit, outcome in outcomes.items():
        folder = tmp_path / limit
        assert not [p for p in folder.iterdir() if p.name.endswith(".tmp")]
        if outcome != "written":
            assert {name: hashes(folder)[name] for name in before} == before
            discard_uncommitted(folder)
            assert hashes(folder) == before
            assert verify(folder).problems == ()


FULL = """
import os, resource, signal, sys
from pathlib import Path
from made_studies import write_shard
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in sys.argv[2:]:
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
        outcome = "written"
        try:
            write_shard(Path(sys.argv[1]) / limit, 2, range(10, 12), shape=(10, 32, 32))
        except OSError as error:
            outcome = error.strerror
        os.write(1, f"{limit}: {outcome}\\n".encode())
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_full_disk_while_the_books_are_written_leaves_no_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(tmp_path)
    real, calls = store.LocalStore.create, 0

    def full(self: store.LocalStore, name: str) -> store.NewFile:
        nonlocal calls
        calls += 1
        if calls > allowed_calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, name)

    monkeypatch.setattr(store.LocalStore, "create", full)
    for allowed_calls in range(5):
        calls = 0
        with pytest.raises(OSError, match="No space"):
            finish(tmp_path)
        assert (tmp_path / "dataset.json").exists() == (allowed_calls == 0)
        assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]
    monkeypatch.undo()
    finish(tmp_path)
    assert verify(tmp_path).problems == ()


def test_replacing_a_shard_closes_the_dataset_until_it_is_finished_again(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    write_shard(tmp_path, 2, range(10, 11))
    assert len(Dataset.open(tmp_path)) == 6  # a new shard changes nothing that is indexed
    write_shard(tmp_path, 1, range(9, 12))
    with pytest.raises(UserError):
        Dataset.open(tmp_path)
