"""A store holds files whole or not at all, here and elsewhere, whatever fails."""

from __future__ import annotations

import errno
import io
import pickle
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest
from faulty_store import FaultyFileSystem, clean
from made_studies import key_of, make_dataset, study_of, write_shard

from shards import remote, store
from shards.commit import committed, discard_uncommitted
from shards.reader import Dataset
from shards.remote import StoreFailure
from shards.source import source_of
from shards.store import LocalStore, NewFile, Store, store_at
from shards.writer import ShardWriter
from study.errors import UserError


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyFileSystem]]:
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.0)
    yield clean()
    clean()


@pytest.fixture(params=["local", "file", "memory", "faulty"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    clean()
    fsspec.filesystem("memory").store.clear()
    urls = {"local": f"{tmp_path}/data", "file": f"file://{tmp_path}/data"}
    yield store_at(urls.get(request.param, f"{request.param}://host/data"))
    fsspec.filesystem("memory").store.clear()


def test_files_of_a_store(place: Store) -> None:
    assert not place.exists()
    assert place.sizes() == {}
    assert place.size("a") is None
    store.write(place, "b", b"0123456789")
    store.write(place, "a", b"first")
    store.write(place, "a", b"second")
    assert place.exists()
    assert place.sizes() == {"a": 6, "b": 10}
    assert place.size("b") == 10
    assert place.read("a") == b"second"
    assert place.read("b", 3) == b"3456789"
    assert place.read("b", 3, 4) == b"3456"
    assert place.read("b", 8, 4) == b"89"
    assert place.read("b", 3, 0) == place.read("b", 10, 4) == place.read("b", 11, 4) == b""
    assert pickle.loads(pickle.dumps(place)).read("b", 9) == b"9"
    place.remove("a")
    place.remove("a")
    assert place.sizes() == {"b": 10}
    for ask in (place.read, place.open):
        with pytest.raises(FileNotFoundError):
            ask("a")


def test_a_stream_is_read_at_any_place(place: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "READ_AHEAD", 7)
    data = bytes(range(100))
    store.write(place, "x", data)
    with place.open("x") as stream:
        expected = io.BytesIO(data)
        for move, whence, length in [(50, 0, 20), (-10, 1, 5), (-3, 2, 9), (0, 0, -1), (200, 0, 1)]:
            assert stream.seek(move, whence) == expected.seek(move, whence)
            assert stream.read(length) == expected.read(length)


def test_a_file_that_is_not_published_leaves_nothing(place: Store) -> None:
    store.write(place, "x", b"old")
    new = place.create("x")
    new.stream.write(b"new")
    new.discard()
    assert place.sizes() == {"x": 3}
    assert place.read("x") == b"old"


def test_a_dataset_anywhere_has_the_same_bytes(place: Store, tmp_path: Path) -> None:
    make_dataset(tmp_path / "here")
    make_dataset(place)
    here = store_at(tmp_path / "here")
    names = [name for name in here.sizes() if not name.endswith("_stats.json")]  # hold a duration
    assert list(place.sizes()) == list(here.sizes())
    for name in names:
        assert place.read(name) == here.read(name)
    opened = Dataset.open(place)
    assert opened.study(key_of(4)) == study_of(4, split="valid")
    assert opened.table().equals(Dataset.open(here).table())
    assert list(committed(place)) == [0, 1]
    assert discard_uncommitted(place) == []
    place.remove("00001_stats.json")
    store.write(place, ".00002.tar.0123456789ab.tmp", b"left over")
    gone = [".00002.tar.0123456789ab.tmp", "00001.parquet", "00001.tar"]
    assert discard_uncommitted(place) == gone
    assert list(committed(place)) == [0]


def test_a_writer_that_fails_leaves_nothing(place: Store) -> None:
    def interrupted() -> None:
        with ShardWriter(place, 0, "none") as writer:
            writer.add(study_of(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert place.sizes() == {}


@pytest.mark.parametrize("request_", ["ls", "info", "cat_file", "put_file", "mv"])
def test_what_fails_and_then_passes_is_not_noticed(
    faults: type[FaultyFileSystem], request_: str
) -> None:
    faults.fail = {request_: remote.TRIES - 1}
    make_dataset("faulty://host/data")
    assert faults.fail == {request_: 0}
    faults.fail = {request_: remote.TRIES - 1}
    opened = Dataset.open("faulty://host/data")
    opened.table()
    assert opened.study(key_of(4)) == study_of(4, split="valid")
    assert faults.fail == {request_: 0} or request_ in ("put_file", "mv")


@pytest.mark.parametrize("request_", ["ls", "info", "cat_file"])
def test_what_keeps_failing_is_the_users_to_see(
    faults: type[FaultyFileSystem], request_: str
) -> None:
    make_dataset("faulty://host/data")
    opened = Dataset.open("faulty://host/data")
    faults.fail = {request_: 99}
    with pytest.raises(UserError, match=r"faulty://host/data.*connection reset by peer"):
        Dataset.open("faulty://host/data").table()
    if request_ == "cat_file":
        with pytest.raises(StoreFailure, match=r"00000\.tar: failed 3 times, check network"):
            opened.study(key_of(0))  # which says nothing about its bytes


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("fault", ["fails", "is short"])
def test_a_shard_that_does_not_arrive_is_none(
    faults: type[FaultyFileSystem], monkeypatch: pytest.MonkeyPatch, fault: str, atomic: bool
) -> None:
    place = store_at("faulty://host/data")
    monkeypatch.setattr(place, "_is_atomic", atomic)
    if fault == "fails":
        faults.fail = {"put_file": remote.TRIES}
    else:
        monkeypatch.setattr(faults, "pipe_file", _short)
    with pytest.raises(StoreFailure, match=r"00000\.tar: failed 3 times"):
        write_shard(place, 0, range(2))
    monkeypatch.undo()
    assert committed(place) == {}
    discard_uncommitted(place)
    assert place.sizes() == {}
    write_shard(place, 0, range(2))
    assert list(committed(place)) == [0]


def _short(self: FaultyFileSystem, path: str, value: bytes, **options: object) -> None:
    super(FaultyFileSystem, self).pipe_file(path, value[:-1], **options)


def test_bytes_lost_on_the_way_are_sent_again(faults: type[FaultyFileSystem]) -> None:
    faults.lose = 7
    make_dataset("faulty://host/data")
    files = len(store_at("faulty://host/data").sizes())
    assert faults.asked.count("put_file") == files + 1  # the first one twice
    assert Dataset.open("faulty://host/data").study(key_of(0)) == study_of(0)


def test_refusals_are_not_repeated(faults: type[FaultyFileSystem]) -> None:
    make_dataset("faulty://host/data")
    faults.fail, faults.error = {"cat_file": 99}, PermissionError("Forbidden")
    faults.asked.clear()
    with pytest.raises(StoreFailure, match="refused, check access and credentials: Forbidden"):
        store_at("faulty://host/data").read("dataset.json")
    assert faults.asked == ["cat_file"]
    faults.error = TypeError("a bug of ours")
    with pytest.raises(TypeError):
        store_at("faulty://host/data").read("dataset.json")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")

    class Full(LocalStore):
        def create(self, name: str) -> NewFile:
            new = super().create(name)
            new.stream.close()
            new.stream = open("/dev/full", "wb")  # noqa: SIM115 - closed by `discard`
            return new

    with pytest.raises(OSError, match="No space") as raised:
        store.write(Full(tmp_path), "index.parquet", b"bytes")
    assert raised.value.filename == str(tmp_path / "index.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_full_temporary_folder_is_named(
    faults: type[FaultyFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    full = partial(open, "/dev/full", "r+b", 0)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda **_: full())
    with pytest.raises(StoreFailure, match=r"No space left on device; set TMPDIR"):
        make_dataset("faulty://host/data")
    assert store_at("faulty://host/data").sizes() == {}

    def refuse(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(UserError, match="set TMPDIR"):
        write_shard("faulty://host/data", 0, range(1))


def test_a_place_that_nothing_reaches_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="Protocol not known: nosuch"):
        store_at("nosuch://host/data")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for name in ("s3", "s3a"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, name, raising=False)
    with pytest.raises(UserError, match=r"s3fs.*`pip install 'dicom2clip\[s3\]'`"):
        store_at("s3://bucket/data")


def test_a_range_is_one_request(faults: type[FaultyFileSystem]) -> None:
    place = store_at("faulty://host/data")
    store.write(place, "x", bytes(range(100)))
    faults.asked.clear()
    first, second = bytearray(3), bytearray(4)
    assert source_of(place).fill("x", 10, [memoryview(first), memoryview(second)]) == 7
    assert bytes(first + second) == bytes(range(10, 17))
    assert faults.asked == ["cat_file"]
    assert source_of(place).fill("x", 95, [memoryview(bytearray(7))]) == 5
