import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import plain_index
import pytest
from damage import Damage, damages
from hypothesis import HealthCheck, given, settings
from made_studies import key_of, make_dataset, study_of, write_shard
from typer.testing import CliRunner

from shards import index, pieces, seal, tar
from shards.catalog import finish_dataset
from shards.cli import app
from shards.problem import Part, Problem
from shards.store import store_at
from shards.verify import verify
from shards.writer import ShardWriter
from study.errors import UserError

SOAK = int(os.environ.get("DICOM2CLIP_SOAK", "1"))
FILES = [
    "00000.parquet",
    "00000.tar",
    "00000_stats.json",
    "00001.parquet",
    "00001.tar",
    "00001_stats.json",
    "README.md",
    "croissant.json",
    "dataset.json",
    "index.parquet",
    "preview.png",
    "sizes.json",
    "study.schema.json",
]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for compression in ("none", "zstd"):
        made[compression] = tmp_path_factory.mktemp(compression)
        make_dataset(made[compression], compression=compression, each=2)
    return made


@pytest.fixture
def dataset(intact: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(intact["none"], tmp_path / "data")


def problems(dataset: Path) -> list[Problem]:
    return list(verify(dataset).problems)


def names(dataset: Path) -> set[str]:
    return {problem.where for problem in problems(dataset)}


def test_an_intact_dataset_with_a_superseded_sample_has_none(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    with ShardWriter(tmp_path, 2, "zstd") as writer:
        writer.add(study_of(0))
        writer.add(study_of(77, scans=0))
    finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    report = verify(tmp_path, jobs=3)
    assert (report.problems, report.notes) == ((), ())
    assert (report.shards, report.samples) == (3, 8)
    assert report.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_the_files_of_the_property_tests_are_all_files(dataset: Path) -> None:
    assert set(FILES) == {path.name for path in dataset.iterdir()}


@pytest.mark.slow
@settings(max_examples=30 * SOAK, suppress_health_check=list(HealthCheck))
@given(one=damages(FILES, ("flip",)))
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_any_changed_byte_is_found_and_its_member_is_named(
    intact: dict[str, Path], compression: str, one: Damage
) -> None:
    folder = intact[compression]
    before = (folder / one.file).read_bytes()
    try:
        one.do(folder)
        found = problems(folder)
    finally:
        (folder / one.file).write_bytes(before)
    assert {problem.where for problem in found} == {one.file}
    if one.file.endswith(".tar"):
        assert len(found) == 1
        expected = member_at(folder / one.file, one.byte(len(before)))
        assert (found[0].part, found[0].member) == expected
        assert expected[1].startswith(found[0].key)
        assert bool(found[0].key) == bool(expected[1])


def member_at(file: Path, byte: int) -> tuple[Part, str]:
    """Which part of which member a byte of a tar belongs to, by the tar's own headers."""
    with tarfile.open(file) as archive:
        for member in archive:
            end = member.offset_data + member.size
            if byte < member.offset_data:
                return Part.HEADER, member.name
            if byte < end:
                return Part.PAYLOAD, member.name
            if byte < end + -end % tarfile.BLOCKSIZE:
                return Part.PADDING, member.name
    return Part.END, ""


@pytest.mark.slow
@settings(max_examples=20 * SOAK, suppress_health_check=list(HealthCheck))
@given(one=damages(FILES, ("truncate", "remove", "zero")))
def test_a_lost_or_shorter_file_is_found(intact: dict[str, Path], one: Damage) -> None:
    folder = intact["none"]
    before = (folder / one.file).read_bytes()
    try:
        one.do(folder)
        path = folder / one.file
        is_changed = not path.exists() or path.read_bytes() != before
        found = names(folder)
    finally:
        (folder / one.file).write_bytes(before)
    assert (one.file in found) == is_changed


def test_all_damaged_members_of_a_tar_are_named(dataset: Path) -> None:
    file = dataset / "00000.tar"
    with tarfile.open(file) as archive:
        members = archive.getmembers()
    data = bytearray(file.read_bytes())
    data[members[0].offset_data - 512] ^= 1
    data[members[2].offset_data + 200] ^= 1
    data[members[3].offset_data + 5] ^= 1
    file.write_bytes(bytes(data))
    found = {(problem.member, problem.part) for problem in problems(dataset)}
    assert found == {
        (f"{key_of(0)}.json", Part.HEADER),
        (f"{key_of(0)}.s01.npy", Part.PAYLOAD),
        (f"{key_of(1)}.json", Part.PAYLOAD),
    }


def test_without_any_book_the_headers_tell_what_can_be_told(dataset: Path) -> None:
    for name in FILES:
        if not name.endswith(".tar"):
            (dataset / name).unlink()
    assert not {"00000.tar", "00001.tar"} & names(dataset)
    file = dataset / "00000.tar"
    data = bytearray(file.read_bytes())
    data[0] ^= 1  # of the header of the first member
    file.write_bytes(bytes(data))
    found = [str(problem) for problem in problems(dataset) if problem.where == "00000.tar"]
    assert any("not a header" in line for line in found)
    assert any(f"{key_of(0)}.s00.npy" in line for line in found)
    assert not any(key_of(1) in line for line in found)


def test_a_table_that_tells_otherwise_than_the_tar_is_found(dataset: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "other", 0, range(2), split="valid")
    for name in ("00000.parquet", "00000_stats.json"):
        shutil.copy(tmp_path / "other" / name, dataset)
    assert "00000.tar" in names(dataset)


def test_an_index_that_tells_otherwise_than_the_tables_is_found(dataset: Path) -> None:
    samples = index.load(dataset)
    plain_index.save(dataset, [samples[0], *samples[2:]])
    reseal(dataset)
    found = problems(dataset)
    assert {(problem.where, problem.key) for problem in found} == {("index.parquet", key_of(1))}


def test_counts_that_the_shards_deny_are_found(dataset: Path) -> None:
    facts = json.loads((dataset / "dataset.json").read_text())
    facts["num_scans"] += 1
    (dataset / "dataset.json").write_bytes(seal.text(seal.sealed(facts), 1))
    assert [str(p) for p in problems(dataset)] == ["dataset.json: num_scans is 9, the shards say 8"]


def test_a_patient_in_two_splits_is_found(dataset: Path) -> None:
    write_shard(dataset, 2, range(1, 2), split="train")  # study 1 was valid
    with ShardWriter(dataset, 3, "none") as writer:
        moved = study_of(9, split="test")
        writer.add(type(moved)(**{**vars(moved), "patient": study_of(1).patient}))
    assert any("more than one split" in str(problem) for problem in problems(dataset))


def reseal(dataset: Path) -> None:
    """dataset.json with the checksum of another index."""
    facts = json.loads((dataset / "dataset.json").read_text())
    digest = hashlib.sha256((dataset / "index.parquet").read_bytes())
    facts["files"]["index.parquet"] = digest.hexdigest()
    (dataset / "dataset.json").write_bytes(seal.text(seal.sealed(facts), 1))


def test_foreign_files_are_noted_and_are_no_problem(dataset: Path) -> None:
    (dataset / "notes.txt").write_text("of the user")
    (dataset / ".00009.tar.abc.tmp").write_text("half")
    report = verify(dataset)
    assert report.problems == ()
    assert [note.where for note in report.notes] == [".00009.tar.abc.tmp", "notes.txt"]


def test_what_is_no_dataset_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        verify(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="not a dataset"):
        verify(tmp_path)


def test_memory_is_that_of_a_member(dataset: Path) -> None:
    """A header that tells of eight gigabytes reads no more than there is."""
    huge = tar.header_of(f"{key_of(0)}.json", 8 * 2**30 - 1)
    file = dataset / "00000.tar"
    file.write_bytes(huge + file.read_bytes()[512:])
    assert any(problem.part is Part.PAYLOAD for problem in problems(dataset))


def test_pieces_are_all_bytes_of_a_tar(dataset: Path) -> None:
    data = (dataset / "00000.tar").read_bytes()
    for cut in range(0, len(data), 997):
        with store_at(dataset).open("00000.tar") as stream:
            stream.seek(cut)
            found: Iterator[pieces.Piece] = pieces.pieces(stream, len(data) - cut, {})
            at = 0
            for piece in found:
                assert piece.start == at
                at = piece.end
            assert at == len(data) - cut


def test_the_command(dataset: Path) -> None:
    run = CliRunner().invoke
    clean = run(app, ["verify", str(dataset), "-j", "2"])
    assert clean.exit_code == 0
    assert "no problems" in clean.output
    Damage("flip", "00001.tar", 0.2, 1).do(dataset)
    broken = run(app, ["verify", str(dataset), "--json"])
    assert broken.exit_code == 3
    facts = json.loads(broken.output)
    assert facts["problems"][0]["where"] == "00001.tar"
    assert facts["problems"][0]["member"]
    (dataset / "dataset.json").unlink()
    assert "repair" in run(app, ["verify", str(dataset)]).output
