import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_studies import SHAPE, key_of, make_dataset, study_of, write_shard

from shards import source
from shards.reader import CorruptSample, Dataset
from study.errors import UserError

BOTH = pytest.mark.parametrize("compression", ["none", "zstd"])


@BOTH
def test_scans_come_into_the_buffer(tmp_path: Path, compression: str) -> None:
    make_dataset(tmp_path, compression=compression)
    opened = Dataset.open(tmp_path)
    ref = opened.find(key_of(4))
    batch = np.zeros((3, *SHAPE), np.uint8)
    got = opened.read_scan(ref, 1, batch[2])
    assert got.base is batch
    assert np.array_equal(batch[2], study_of(4).scans[1].array)
    assert not batch[:2].any()
    assert np.array_equal(opened.read_scan(ref, 0), study_of(4).scans[0].array)
    for wrong in (
        np.zeros((1, 2, 3), np.uint8),
        np.zeros(SHAPE, np.int8),
        np.zeros(SHAPE, np.uint8)[:, ::-1],
    ):
        with pytest.raises(ValueError, match="does not fit"):
            opened.read_scan(ref, 0, wrong)


@BOTH
def test_many_threads_read_with_few_open_shards(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MAX_OPEN_FILES", 2)
    make_dataset(tmp_path, compression=compression, shards=6, each=2)
    opened = Dataset.open(tmp_path)
    wanted = [(ref, scan) for ref in opened.samples() for scan in range(2)] * 10
    out = np.empty((len(wanted) + 1, *SHAPE), np.uint8)
    with ThreadPoolExecutor(8) as pool:
        got = opened.read_scans(wanted, out, pool)
    assert len(got) == len(wanted)
    for array, (ref, scan) in zip(got, wanted, strict=True):
        number = int(ref.key, 16)
        split = ("train", "valid", "test")[number % 3]
        assert np.array_equal(array, study_of(number, split=split).scans[scan].array)


def test_samples_by_split_and_study_by_prefix(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    opened = Dataset.open(tmp_path)
    assert [ref.key for ref in opened.samples()] == [key_of(n) for n in range(6)]
    assert [ref.key for ref in opened.samples("valid")] == [key_of(1), key_of(4)]
    assert opened.study(key_of(5)) == study_of(5, split="test")
    assert opened.metadata(opened.find(key_of(5)))["report"]["text"] == "FINDINGS: 5"
    with pytest.raises(UserError, match="6 studies begin with"):
        opened.study("0000")
    with pytest.raises(UserError, match="no study 'f'"):
        opened.study("f")
    with pytest.raises(UserError, match="training"):
        opened.samples("training")


def test_a_copy_in_another_process_reads_too(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    opened = Dataset.open(tmp_path)
    opened.study(key_of(0))
    copy = pickle.loads(pickle.dumps(opened))
    assert copy.study(key_of(3)) == opened.study(key_of(3))


@BOTH
def test_any_changed_byte_of_a_member_is_named(tmp_path: Path, compression: str) -> None:
    make_dataset(tmp_path, compression=compression, shards=1, each=1)
    ref = Dataset.open(tmp_path).samples()[0]
    path = tmp_path / "00000.tar"
    data = path.read_bytes()
    for address in (ref.metadata, *ref.scans):
        for place in (0, address.length // 2, address.length - 1):
            broken = bytearray(data)
            broken[address.offset + place] ^= 0x10
            path.write_bytes(bytes(broken))
            with pytest.raises(CorruptSample) as caught:
                Dataset.open(tmp_path).read_study(ref)
            for word in ("00000.tar", ref.key, address.member, str(address.offset), "crc32c"):
                assert word in str(caught.value)
            assert caught.value.member == address.member


@BOTH
def test_a_truncated_or_missing_shard_is_named(tmp_path: Path, compression: str) -> None:
    make_dataset(tmp_path, compression=compression, shards=1, each=1)
    ref = Dataset.open(tmp_path).samples()[0]
    path = tmp_path / "00000.tar"
    path.write_bytes(path.read_bytes()[: ref.scans[1].offset + 5])
    opened = Dataset.open(tmp_path)
    opened.read_scan(ref, 0)
    with pytest.raises(CorruptSample, match=rf"{ref.scans[1].member}.*truncated"):
        opened.read_scan(ref, 1)
    path.unlink()
    with pytest.raises(CorruptSample, match="missing"):
        Dataset.open(tmp_path).read_scan(ref, 0)
    error = CorruptSample("00000.tar", ref.key, ref.scans[0], "why")
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


def test_the_check_can_be_left_out(tmp_path: Path) -> None:
    make_dataset(tmp_path, shards=1, each=1)
    opened = Dataset.open(tmp_path)
    ref = opened.samples()[0]
    path = tmp_path / "00000.tar"
    data = bytearray(path.read_bytes())
    data[ref.scans[0].offset + ref.scans[0].length - 1] ^= 1
    path.write_bytes(bytes(data))
    array = opened.read_scan(ref, 0, check=False)
    assert int(np.sum(array != study_of(0).scans[0].array)) == 1


def test_where_there_is_no_dataset_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no dataset\.json"):
        Dataset.open(tmp_path)
    write_shard(tmp_path, 0, range(1))
    with pytest.raises(UserError, match="1 finished shards but no"):
        Dataset.open(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        Dataset.open(tmp_path / "00000.tar")
    make_dataset(tmp_path)
    (tmp_path / "index.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"index\.parquet cannot be read"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema_version": 99}')
    with pytest.raises(UserError, match="schema version 99"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not the dataset\.json"):
        Dataset.open(tmp_path)
