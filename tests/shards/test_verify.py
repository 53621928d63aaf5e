from pathlib import Path

from made_studies import key_of, make_dataset, study_of

from shards import index
from shards.catalog import finish_dataset
from shards.reader import Dataset
from shards.verify import verify_shards
from shards.writer import ShardWriter


def problems(dataset: Path) -> list[str]:
    found = verify_shards(Dataset.open(dataset))
    return [f"{problem.where}: {problem.what}" for _, some in found for problem in some]


def test_an_intact_dataset_with_a_superseded_sample_has_none(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    with ShardWriter(tmp_path, 2, "zstd") as writer:
        writer.add(study_of(0))
    finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    assert problems(tmp_path) == []


def test_any_changed_byte_of_a_shard_is_found(tmp_path: Path) -> None:
    make_dataset(tmp_path, shards=1, each=1)
    for name in ("00000.tar", "00000.parquet"):
        path = tmp_path / name
        data = path.read_bytes()
        for place in range(0, len(data), 613):
            changed = bytearray(data)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            assert any(line.startswith(name) for line in problems(tmp_path)), (name, place)
        path.write_bytes(data)


def test_lost_files_are_found(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    (tmp_path / "00001_stats.json").unlink()
    assert any("00001: no commit record" in line for line in problems(tmp_path))
    (tmp_path / "00000.tar").unlink()
    assert sum("the shard is missing" in line for line in problems(tmp_path)) == 3


def test_a_study_that_the_index_forgot_is_found(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    samples = index.load(tmp_path)
    Dataset.open(tmp_path)
    index.save(tmp_path, [*samples[:2], samples[3], samples[3], *samples[4:]])
    assert any(key_of(2) in line and "not in the index" in line for line in problems(tmp_path))
