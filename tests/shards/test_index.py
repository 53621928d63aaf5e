import pickle
from pathlib import Path

import numpy as np
import plain_index
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_studies import key_of, make_dataset, study_of, write_shard

from shards import index
from shards.catalog import finish_dataset
from shards.reader import Dataset
from shards.writer import ShardWriter
from study.errors import UserError


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_tars_alone_give_the_same_index(tmp_path: Path, compression: str) -> None:
    make_dataset(tmp_path, compression=compression)
    written = (tmp_path / index.INDEX_FILE).read_bytes()
    indexed = index.load(tmp_path)
    for name in ("00000.parquet", "00001.parquet", index.INDEX_FILE):
        (tmp_path / name).unlink()
    rebuilt = plain_index.build(tmp_path, [1, 0])
    assert rebuilt == indexed
    plain_index.save(tmp_path, rebuilt)
    assert (tmp_path / index.INDEX_FILE).read_bytes() == written


def test_a_later_shard_supersedes_a_study(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, range(3))
    with ShardWriter(tmp_path, 4, "none") as writer:
        writer.add(study_of(1, scans=5))
    info = finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    assert info.by_status == {"used": 3, "superseded": 1}
    opened = Dataset.open(tmp_path)
    assert len(opened.study(key_of(1)).scans) == 5
    assert sorted(ref.key for ref in opened.samples()) == [key_of(n) for n in range(3)]
    assert index.load(tmp_path) == plain_index.latest(plain_index.build(tmp_path, [0, 4]))


def test_samples_are_a_sequence(tmp_path: Path) -> None:
    make_dataset(tmp_path, shards=3)
    samples = index.load(tmp_path)
    as_list = list(samples)
    assert samples == as_list == plain_index.build(tmp_path, range(3))
    assert samples != as_list[1:]
    assert samples != [*as_list[1:], as_list[0]]
    assert samples[-2] == as_list[-2]
    assert samples[np.int64(4)] == as_list[4]
    assert samples[1:7:2] == as_list[1:7:2]
    with pytest.raises(IndexError):
        samples[9]
    part = samples.of_split("valid")[1:]
    assert part == [ref for ref in as_list if ref.split == "valid"][1:]
    assert part.keys() == [ref.key for ref in part] == [key_of(4), key_of(7)]
    assert part.shards().tolist() == [1, 2]
    assert part.num_scans().tolist() == [2, 2]
    assert part.chosen(np.array([False, True])) == part[1:]
    assert part.that_begin(key_of(7)[:-1] + "7") == [as_list[7]]
    assert part.that_begin(key_of(8)) == []
    assert samples.of_split("nothing") == []
    assert samples.dtypes() == {"uint8"}
    assert pickle.loads(pickle.dumps(part)) == part
    plain_index.save(tmp_path, [])
    assert index.load(tmp_path) == []


def test_another_table_is_no_index(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    table = pq.read_table(tmp_path / index.INDEX_FILE)
    for wrong in (
        table.drop_columns("crc32c"),
        table.set_column(0, "key", table["offset"]),
        table.set_column(5, "offset", pa.array([None] * len(table), pa.int64())),
    ):
        pq.write_table(wrong, tmp_path / index.INDEX_FILE)
        with pytest.raises(pa.ArrowInvalid, match="column"):
            index.load(tmp_path)
        with pytest.raises(UserError, match=r"index\.parquet cannot be read: its SHA-256"):
            Dataset.open(tmp_path)
