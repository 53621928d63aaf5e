"""What is read from afar is read once, into a folder of limited size, by any number of threads and
processes."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import S3Server
from faulty_store import FaultyFileSystem, clean
from made_studies import study_of, write_shard

from shards import cache, files, remote
from shards.cache import CachedSource
from shards.catalog import finish_dataset
from shards.order import epoch_order
from shards.reader import CorruptSample, Dataset
from shards.remote import StoreFailure
from shards.store import Location, store_at

SHAPE = (8, 32, 32)
URL = "faulty://host/data"
PLENTY = 10**9


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyFileSystem]]:
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.0)
    yield clean()
    clean()


def make(place: Location, shards: int, studies: int, scans: int, first: int = 0) -> None:
    """A dataset of equal shards."""
    for shard in range(shards):
        start = first + shard * studies
        write_shard(place, shard, range(start, start + studies), scans=scans, shape=SHAPE)
    finish_dataset(place, fingerprint="f" * 64, provenance={}, settings={})


def cached(folder: Path, limit: int = PLENTY, url: str = URL) -> tuple[Dataset, CachedSource]:
    source = CachedSource(store_at(url), folder, limit)
    return Dataset.open(url, source), source


def kept(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name != ".lock"}


def read_epoch(dataset: Dataset, epoch: int, window_shards: int, threads: int = 4) -> None:
    """Read and compare every scan, in the order of a shuffled epoch."""
    refs = dataset.samples()
    order = epoch_order(
        [ref.shard for ref in refs], seed=1, epoch=epoch, window_shards=window_shards
    )

    def compare(number: int) -> None:
        expected = study_of(int(refs[number].key, 16), scans=len(refs[number].scans), shape=SHAPE)
        for scan, made in enumerate(expected.scans):
            assert np.array_equal(dataset.read_scan(refs[number], scan), made.array)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compare, order))


def test_a_shuffled_epoch_fetches_each_byte_once(
    far: type[FaultyFileSystem], tmp_path: Path
) -> None:
    make(URL, shards=40, studies=3, scans=2)
    whole = Dataset.open(URL).info.bytes
    dataset, source = cached(tmp_path, whole // 10)
    far.read_bytes = 0
    read_epoch(dataset, 0, window_shards=4)
    assert far.read_bytes <= 1.1 * whole
    assert source.counts.fetches == 240
    assert sum(kept(tmp_path).values()) <= whole // 10
    assert source.counts.evictions == 240 - len(kept(tmp_path))


def test_an_epoch_over_s3(s3: S3Server, tmp_path: Path) -> None:
    make(s3.url("data"), shards=20, studies=2, scans=1)
    dataset, source = cached(
        tmp_path, Dataset.open(s3.url("data")).info.bytes // 10, s3.url("data")
    )
    read_epoch(dataset, 0, window_shards=2)
    assert source.counts.fetched_bytes <= 1.1 * dataset.info.bytes
    assert sum(kept(tmp_path).values()) <= dataset.info.bytes // 10
    full, source = cached(tmp_path / "full", url=s3.url("data"))
    read_epoch(full, 0, window_shards=2)
    fetched = source.counts.fetched_bytes
    read_epoch(full, 1, window_shards=2)
    assert source.counts.fetched_bytes == fetched <= dataset.info.bytes


def test_a_second_epoch_that_fits_fetches_nothing(
    far: type[FaultyFileSystem], tmp_path: Path
) -> None:
    make(URL, shards=10, studies=3, scans=2)
    dataset, source = cached(tmp_path)
    read_epoch(dataset, 0, window_shards=4)
    far.asked.clear()
    read_epoch(dataset, 1, window_shards=4)
    assert far.asked == []
    assert (source.counts.fetches, source.counts.hits, source.counts.evictions) == (60, 60, 0)
    later, source = cached(tmp_path)  # another run, with no more than the records of the shards
    far.read_bytes = 0
    read_epoch(later, 0, window_shards=4)
    assert source.counts.fetches == 0
    assert far.read_bytes < 0.1 * later.info.bytes


def test_only_the_chosen_scans_are_fetched(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    make(URL, shards=2, studies=2, scans=20)
    dataset, source = cached(tmp_path)
    for ref in dataset.samples():
        dataset.metadata(ref)
        for scan in range(0, 16, 2):
            dataset.read_scan(ref, scan)
    assert source.counts.fetched_bytes < 0.5 * dataset.info.bytes
    assert len(kept(tmp_path)) == 4 * 8  # no metadata: it is read once a run


def test_the_least_recently_read_goes_first(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    make(URL, shards=1, studies=1, scans=6)
    ref = Dataset.open(URL).samples()[0]
    length = ref.scans[0].length
    dataset, source = cached(tmp_path, int(length * 3 / (15 / 16)) + 20)  # room for three
    for scan in (0, 1, 2, 0, 3, 0, 4):
        dataset.read_scan(ref, scan)
        time.sleep(0.002)  # the times of files are those of ticks
    for scan in (0, 3, 4):
        dataset.read_scan(ref, scan)
    assert source.counts.fetches == 5
    assert source.counts.evictions == 2
    dataset.read_scan(ref, 1)
    assert source.counts.fetches == 6


def test_wanted_by_many_fetched_once(
    far: type[FaultyFileSystem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(URL, shards=1, studies=1, scans=2)
    dataset, source = cached(tmp_path)
    ref = dataset.samples()[0]
    dataset.read_scan(ref, 0)
    together, asked = threading.Barrier(8), source._store.read

    def slowly(*arguments: object) -> bytes:
        time.sleep(0.05)
        return asked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(source._store, "read", slowly)

    def read(_: int) -> np.ndarray:
        together.wait()
        return dataset.read_scan(ref, 1)

    with ThreadPoolExecutor(8) as pool:
        arrays = list(pool.map(read, range(8)))
    expected = study_of(0, scans=2, shape=SHAPE).scans[1].array
    assert all(np.array_equal(array, expected) for array in arrays)
    assert (source.counts.fetches, source.counts.hits) == (2, 7)
    assert source._fetching == {}


def test_a_wrong_byte_is_fetched_again(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    make(URL, shards=1, studies=1, scans=2)
    dataset, source = cached(tmp_path)
    ref = dataset.samples()[0]
    expected = study_of(0, scans=2, shape=SHAPE).scans[0].array
    far.spoil = {"00000.tar": 2}  # on the way
    assert np.array_equal(dataset.read_scan(ref, 0), expected)
    assert source.counts.fetches == 3
    (file,) = (tmp_path / name for name in kept(tmp_path))
    for damage in (file.read_bytes()[:-1] + b"?", file.read_bytes()[:-9], b""):  # on the disk
        file.write_bytes(damage)
        assert np.array_equal(dataset.read_scan(ref, 0), expected)
    assert source.counts.fetches == 6
    far.spoil = {"00000.tar": 99}
    with pytest.raises(CorruptSample, match=r"s01\.npy.*crc32c"):
        dataset.read_scan(ref, 1)
    assert len(kept(tmp_path)) == 1  # nothing that is wrong
    far.spoil = {}
    dataset.read_scan(ref, 1)


def test_a_replaced_shard_is_another_one(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    make(URL, shards=1, studies=2, scans=2)
    read_epoch(cached(tmp_path)[0], 0, window_shards=1)
    make(URL, shards=1, studies=2, scans=2, first=10)
    dataset, source = cached(tmp_path)
    read_epoch(dataset, 0, window_shards=1)
    assert (source.counts.fetches, source.counts.hits) == (4, 0)


def test_no_network_is_no_damage(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    make(URL, shards=1, studies=1, scans=2)
    dataset, _ = cached(tmp_path)
    ref = dataset.samples()[0]
    dataset.read_scan(ref, 0)
    far.fail = {"cat_file": 99}
    dataset.read_scan(ref, 0)
    with pytest.raises(StoreFailure):
        dataset.read_scan(ref, 1)
    far.fail = {}
    dataset.read_scan(ref, 1)


@pytest.mark.parametrize("when", ["from the start", "later"])
def test_a_full_disk_costs_speed_alone(
    far: type[FaultyFileSystem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    make(URL, shards=2, studies=2, scans=2)
    said: list[str] = []

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    if when == "from the start":
        monkeypatch.setattr(cache, "private_folder", full)
    source = CachedSource(store_at(URL), tmp_path / "cache", PLENTY, said.append)
    dataset = Dataset.open(URL, source)
    if when == "later":
        dataset.read_scan(dataset.samples()[0], 0)
        monkeypatch.setattr(files, "temporary_name", lambda _: Path("/dev/full/x"))
    read_epoch(dataset, 0, window_shards=1)
    read_epoch(dataset, 1, window_shards=1)
    assert len(said) == 1
    assert str(tmp_path / "cache") in said[0]
    assert "no longer kept" in said[0]
    assert source.counts.hits == (0 if when == "from the start" else 2)


def test_a_limit_of_zero_keeps_nothing(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    make(URL, shards=1, studies=2, scans=2)
    dataset, source = cached(tmp_path / "none", 0)
    read_epoch(dataset, 0, window_shards=1)
    read_epoch(dataset, 1, window_shards=1)
    assert source.counts.fetches == 8
    assert not (tmp_path / "none").exists()


def test_left_over_files_go(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    old, new = tmp_path / ".x-0-9.0123456789ab.tmp", tmp_path / ".y-0-9.0123456789ab.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    CachedSource(store_at(URL), tmp_path, PLENTY)
    assert list(kept(tmp_path)) == [new.name]


READER = """
import sys
from pathlib import Path
from shards.cache import CachedSource
from shards.reader import Dataset
from shards.store import store_at
url = f"local://{sys.argv[2]}"
source = CachedSource(store_at(url), Path(sys.argv[1]), 25_000)
dataset = Dataset.open(url, source)
for epoch in range(20):
    for ref in dataset.samples():
        dataset.read_scan(ref, 0)  # which checks it
print(source.counts.fetches, source.counts.hits)
"""


def test_processes_share_a_folder(tmp_path: Path) -> None:
    folder, data = tmp_path / "cache", tmp_path / "data"
    make(data, shards=4, studies=2, scans=1)
    command = [sys.executable, "-c", READER, str(folder), str(data)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for reader in readers:
        fetches, hits = map(int, reader.communicate(timeout=60)[0].split())
        assert reader.returncode == 0
        assert fetches + hits == 160
    assert 0 < sum(kept(folder).values()) <= 25_000


def test_a_copy_in_another_process_reads_too(far: type[FaultyFileSystem], tmp_path: Path) -> None:
    make(URL, shards=1, studies=1, scans=1)
    dataset, _ = cached(tmp_path)
    read_epoch(pickle.loads(pickle.dumps(dataset)), 0, window_shards=1)
    assert len(kept(tmp_path)) == 1
    assert (tmp_path.stat().st_mode & 0o777) == 0o700
