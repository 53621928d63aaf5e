"""The whole path of a dataset over a real S3-compatible server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import plain_index
import pytest
import s3fs
from conftest import S3Server
from made_studies import key_of, make_dataset, study_of, write_shard
from typer.testing import CliRunner

from shards import remote
from shards.cli import app
from shards.commit import committed, discard_uncommitted
from shards.reader import CorruptSample, Dataset
from shards.remote import StoreFailure
from shards.store import store_at, write
from study.errors import UserError

WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from made_studies import write_shard, make_dataset
make_dataset(sys.argv[1])
for shard in range(2, 1000):
    write_shard(sys.argv[1], shard, range(8), shape=(16, 64, 64))
    print(shard, flush=True)
"""


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_written_and_read_over_s3(s3: S3Server, tmp_path: Path) -> None:
    url = s3.url("deep/data")
    make_dataset(tmp_path, compression="zstd")
    make_dataset(url, compression="zstd")
    here, there = store_at(tmp_path), store_at(url)
    assert list(there.sizes()) == list(here.sizes())
    for name in here.sizes():
        if not name.endswith("_stats.json"):  # they hold a duration
            assert there.read(name) == here.read(name)
    opened = Dataset.open(url)
    assert [ref.key for ref in opened.samples()] == [key_of(n) for n in range(6)]
    assert opened.study(key_of(4)) == study_of(4, split="valid")
    assert opened.table().equals(Dataset.open(here).table())
    assert list(committed(url)) == [0, 1]
    assert discard_uncommitted(url) == []
    for name in ("00001_stats.json", "dataset.json"):
        there.remove(name)
    with pytest.raises(UserError, match=r"1 finished shards but no dataset\.json"):
        Dataset.open(url)
    assert discard_uncommitted(url) == ["00001.parquet", "00001.tar"]
    assert there.read("00000.tar", 10**9, 5) == b""


def test_commands_take_a_url(s3: S3Server, tmp_path: Path) -> None:
    url = s3.url("data")
    make_dataset(url)
    assert len(run("ls", url, "--json").splitlines()) == 6
    assert json.loads(run("info", url, "--json"))["num_studies"] == 6
    assert "Finding 4." in run("show", url, key_of(4))
    run("preview", url, "-o", tmp_path / "sheet.png", "--limit", 2)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert "no problems" in run("verify", url)
    store = store_at(url)
    data = bytearray(store.read("00001.tar"))
    data[Dataset.open(url).find(key_of(3)).scans[1].offset + 200] ^= 1
    write(store, "00001.tar", bytes(data))
    assert f"{key_of(3)}.s01.npy" in run("verify", url, code=3)
    with pytest.raises(CorruptSample, match=r"00001\.tar.*s01\.npy.*crc32c"):
        Dataset.open(url).study(key_of(3))
    write(store, "00001.tar", bytes(data[:3000]))
    with pytest.raises(CorruptSample, match="truncated"):
        Dataset.open(url).study(key_of(5))


def test_a_wrong_bucket_or_place_is_the_users_error(s3: S3Server) -> None:
    with pytest.raises(UserError, match="there is no folder s3://bucket/nowhere"):
        Dataset.open(s3.url("nowhere"))
    with pytest.raises(UserError, match="there is no folder s3://mispelt/data"):
        Dataset.open("s3://mispelt/data")
    with pytest.raises(UserError, match=r"s3://mispelt/data cannot be written: .*bucket does not"):
        write_shard("s3://mispelt/data", 0, range(1))
    assert s3fs.S3FileSystem().ls("") == ["bucket"]


def test_wrong_credentials_are_the_users_error(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(s3.url("data"))
    s3.demand_credentials(True)
    try:
        with pytest.raises(UserError, match=r"dataset\.json.*refused, check access and cred"):
            Dataset.open(s3.url("data"))
        with pytest.raises(StoreFailure, match="refused, check access and cred"):
            write_shard(s3.url("data"), 7, range(1))
        with pytest.raises(StoreFailure, match="refused, check access and cred"):
            committed(s3.url("data"))
    finally:
        s3.demand_credentials(False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match=r"check access and credentials: .*credentials"):
        Dataset.open(s3.url("data"))


def test_no_network_is_the_users_error(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens on "discard"
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="failed 3 times, check network and endpoint: Could not"):
        Dataset.open(s3.url("data"))
    with pytest.raises(StoreFailure, match="failed 3 times, check network and endpoint: Could not"):
        write_shard(s3.url("data"), 0, range(1))


def test_a_killed_writer_leaves_whole_shards(s3: S3Server) -> None:
    url, folders = s3.url("killed"), [str(Path(__file__).parent), str(Path.cwd())]
    command = [sys.executable, "-c", WRITER, url, *folders]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.15)
        process.send_signal(signal.SIGKILL)
    done = committed(url)
    assert {0, 1, 2} <= set(done)
    assert len(plain_index.build(url, done)) == 6 + 8 * (len(done) - 2)
    assert Dataset.open(url).study(key_of(5)) == study_of(5, split="test")
    discard_uncommitted(url)
    assert sum(name.endswith(".tar") for name in store_at(url).sizes()) == len(done)
