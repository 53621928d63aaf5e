"""Readers that know nothing of dicom2clip find nothing wrong with a shard.

GNU tar, Python's tarfile, libarchive (bsdtar's library), Perl's Archive::Tar, webdataset, pandas,
open_clip's trainer; energon where it is installed. They have three independent tar parsers and more
between them; what they find is held against the index.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pandas as pd
import pytest
import webdataset
from made_studies import study_of

from shards import card
from shards.index import SampleRef
from shards.reader import Dataset
from shards.writer import ShardWriter, committed, finish_dataset
from study.records import Report

Members = list[tuple[str, int, str]]
"""Name, bytes and SHA-256 of every member, in order."""


@pytest.fixture(scope="module", params=["none", "zstd"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Keys of one and of 64 characters, 110 scans, reports in any alphabet, members that end on a
    block of the tar and one byte behind it."""
    folder = tmp_path_factory.mktemp("foreign")
    splits = ("train", "valid", "test")
    for shard in range(4):
        with ShardWriter(folder, shard, request.param) as writer:
            for number in range(3 * shard, 3 * shard + 3):
                study = study_of(number, split=splits[number % 3], shape=(1, 1, 384 + number % 2))
                text = "Größe 脑出血 🩻\n" * number
                writer.add(study.__class__(**vars(study) | {"report": Report({}, text)}))
            odd = study_of(100 + shard, scans=110 if shard == 0 else 1)
            key = ("k", "K" * 64, "-_-", "9")[shard]
            writer.add(odd.__class__(**vars(odd) | {"key": key}))
    finish_dataset(folder, fingerprint="f", provenance={}, settings={})
    return Dataset.open(folder)


def told(dataset: Dataset, shard: int) -> Members:
    """What the index says of a tar, with the hashes of what lies there."""
    data = (Path(dataset.path) / f"{shard:05d}.tar").read_bytes()
    refs = [ref for ref in dataset.samples() if ref.shard == shard]
    return [
        (place.member, place.length, sha256(data[place.offset : place.offset + place.length]))
        for ref in refs
        for place in (ref.metadata, *ref.scans)
    ]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tars(dataset: Dataset) -> list[Path]:
    return sorted(Path(dataset.path).glob("*.tar"))


# -------------------------------------------------------------------------------- tar


def by_tarfile(path: Path) -> Members:
    found = []
    with tarfile.open(path, "r:", format=tarfile.USTAR_FORMAT, errorlevel=2) as tar:
        for member in tar:
            assert (member.type, member.mode, member.mtime) == (tarfile.REGTYPE, 0o644, 0)
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert not member.pax_headers
            stream = tar.extractfile(member)
            assert stream is not None
            found.append((member.name, member.size, sha256(stream.read())))
    return found


def by_gnu_tar(path: Path) -> Members:
    """Listed, unpacked and compared with what was unpacked; any warning fails."""
    env = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    listed = subprocess.run(["tar", "-tvf", path], capture_output=True, env=env, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")
    out = path.with_suffix(".unpacked")
    out.mkdir()
    for verb in ("-xf", "-df"):
        done = subprocess.run(["tar", verb, path, "-C", out], capture_output=True, env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    found = []
    for line in listed.stdout.splitlines():
        mode, owner, size, date, time, name = line.split(maxsplit=5)
        assert (mode, owner, date, time) == ("-rw-r--r--", "0/0", "1970-01-01", "00:00")
        found.append((name, int(size), sha256((out / name).read_bytes())))
    shutil.rmtree(out)
    return found


def by_libarchive(path: Path) -> Members:
    libarchive = pytest.importorskip(
        "libarchive", reason="libarchive is not installed", exc_type=Exception
    )
    found = []
    with libarchive.file_reader(str(path), "tar") as archive:
        for entry in archive:
            assert archive.format_name == b"POSIX ustar format"
            assert (entry.filetype, entry.mtime, entry.uid) == (0o100000, 0, 0)
            data = b"".join(entry.get_blocks())
            found.append((entry.pathname, entry.size, sha256(data)))
    return found


def by_perl(path: Path) -> Members:
    """Archive::Tar has its own parser, in Perl."""
    script = (
        "use strict; use Archive::Tar; use Digest::SHA 'sha256_hex'; $Archive::Tar::WARN = 1;"
        "my $tar = Archive::Tar->new($ARGV[0]) or die Archive::Tar->error;"
        "printf \"%s %d %s\\n\", $_->name, $_->size, sha256_hex($_->get_content // '')"
        " for $tar->get_files;"
    )
    if subprocess.run(["perl", "-MArchive::Tar", "-e", "1"], capture_output=True).returncode:
        pytest.skip("Perl has no Archive::Tar")
    done = subprocess.run(["perl", "-e", script, path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    return [(name, int(size), digest) for name, size, digest in lines]


READERS = {
    "tarfile": by_tarfile,
    "GNU tar": by_gnu_tar,
    "libarchive": by_libarchive,
    "Archive::Tar": by_perl,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_of_tars_finds_what_the_index_tells(dataset: Dataset, reader: str) -> None:
    for shard, path in enumerate(tars(dataset)):
        assert READERS[reader](path) == told(dataset, shard)


@pytest.mark.parametrize("reader", READERS)
def test_it_would_find_damage(dataset: Dataset, reader: str, tmp_path: Path) -> None:
    """Else the test above would show nothing: a tar cut in its last member, and one with a wrong
    size in its first header."""
    whole = tars(dataset)[1].read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: len(whole.rstrip(b"\0")) - 600])
    wrong = tmp_path / "wrong.tar"
    wrong.write_bytes(whole[:124] + b"00000000001" + whole[135:])
    for path in (cut, wrong):
        try:
            found = READERS[reader](path)
        except Exception:  # whatever it says of a damaged tar
            continue
        assert found != told(dataset, 1)


# -------------------------------------------------------------------------------- webdataset


def refs_of(dataset: Dataset, found: list[str]) -> list[SampleRef]:
    by_key = {ref.key: ref for ref in dataset.samples()}
    return [by_key[key] for key in found]


def test_webdataset_reads_a_range_of_shards(dataset: Dataset) -> None:
    urls = f"{dataset.path}/{{00000..00003}}.tar"
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert refs_of(dataset, [sample["__key__"] for sample in samples]) == dataset.samples()
    for sample, ref in zip(samples, dataset.samples(), strict=True):
        named = [name for name in sample if not name.startswith("__")]
        assert named == [place.member.split(".", 1)[1] for place in (ref.metadata, *ref.scans)]
        assert json.loads(sample["json"])["split"] == ref.split


def test_webdataset_reads_a_pipe_from_tar_itself(dataset: Dataset) -> None:
    """A stream without seeking, as from a web server."""
    urls = [f"pipe:cat {path}" for path in tars(dataset)]
    samples = webdataset.WebDataset(urls, shardshuffle=False)
    assert refs_of(dataset, [sample["__key__"] for sample in samples]) == dataset.samples()


def test_a_union_of_ranges_is_read(dataset: Dataset) -> None:
    urls = f"{dataset.path}/{{00000..00001}}.tar::{dataset.path}/00003.tar"
    keys = [sample["__key__"] for sample in webdataset.WebDataset(urls, shardshuffle=False)]
    assert refs_of(dataset, keys) == [ref for ref in dataset.samples() if ref.shard != 2]


def test_the_readme_names_the_range(dataset: Dataset) -> None:
    assert card.urls(committed(dataset.path)) == "{00000..00003}.tar"


# -------------------------------------------------------------------------------- open_clip


def test_open_clips_trainer_finds_the_number_of_samples(dataset: Dataset) -> None:
    data = pytest.importorskip("open_clip_train.data")  # is in the package, and wants pandas
    assert data.get_dataset_size(f"{dataset.path}/{{00000..00003}}.tar") == (16, 4)
    union = f"{dataset.path}/{{00001..00002}}.tar::{dataset.path}/00000.tar"
    assert data.get_dataset_size(union) == (12, 3)


# -------------------------------------------------------------------------------- pandas


def test_pandas_reads_the_tables(dataset: Dataset) -> None:
    folder = Path(dataset.path)
    tables = pd.concat(pd.read_parquet(path) for path in sorted(folder.glob("[0-9]*.parquet")))
    assert list(tables["key"]) == [ref.key for ref in dataset.samples()]
    assert tables["num_scans"].sum() == dataset.info.num_scans == 24 + 113
    index = pd.read_parquet(folder / "index.parquet")
    assert len(index) == 16 + 137
    assert list(index.loc[index["codec"] == "json", "key"]) == list(tables["key"])


# -------------------------------------------------------------------------------- energon


@pytest.mark.parametrize("sample_type", ["CrudeWebdataset", "CaptioningSample"])
def test_energon_prepares_and_lints(dataset: Dataset, sample_type: str, tmp_path: Path) -> None:
    """Megatron-energon is too heavy for the development extra: where it is installed, it is run."""
    pytest.importorskip("megatron.energon")
    copy = tmp_path / "copy"
    shutil.copytree(dataset.path, copy)
    part = dataset.samples()[0].scans[0].member.split(".", 1)[1]
    splits = [f"--split-parts={name}:[0-9]*.tar" for name in ("train", "val", "test")]
    fields = f'--field-map={{"image": "{part}", "caption": "json"}}'
    options = ["--non-interactive", "--no-progress", "--num-workers=1", *splits]
    prepare = ["energon", "prepare", str(copy), *options, f"--sample-type={sample_type}", fields]
    subprocess.run(prepare, check=True, capture_output=True)
    shard_counts = json.loads((copy / ".nv-meta" / ".info.json").read_text())["shard_counts"]
    assert shard_counts == json.loads((copy / "sizes.json").read_text())
    if sample_type != "CrudeWebdataset":  # for that, energon wants code of the user
        subprocess.run(["energon", "lint", str(copy)], check=True, capture_output=True)
