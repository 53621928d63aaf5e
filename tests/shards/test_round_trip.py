"""read(write(study)) == study: by our reader, and by webdataset, json and numpy alone."""

import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import webdataset
import zstandard
from hypothesis import HealthCheck, given, settings
from made_studies import scans, studies, study_of

from shards import allowed
from shards.reader import Dataset
from shards.writer import ShardWriter, finish_dataset
from study.records import Report, Scan, Study


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Of every dtype that may be stored, whole or a strided view, in either memory order."""
    dtype = np.dtype(draw(st.sampled_from(allowed.DTYPES)))
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    values = hnp.from_dtype(dtype, allow_nan=False)
    array = draw(hnp.arrays(dtype, shape, elements=values, fill=values))
    turned = draw(st.sampled_from([(0, 1, 2), (2, 1, 0), (1, 2, 0)]))
    step = draw(st.sampled_from([1, -1, 2]))
    return array.transpose(turned)[::step, :, ::step]


EXAMPLES = 15 * int(os.environ.get("DICOM2CLIP_SOAK", "1"))
"""Datasets that are made."""
MEMORY = Path("/dev/shm")
"""Where syncing to the disk costs nothing."""

_acquired: dict[str, st.SearchStrategy[Any]] = {
    name: st.floats(rule.low, rule.high) | st.integers(int(rule.low), int(rule.high))
    if isinstance(rule, allowed.Range)
    else st.sampled_from(sorted(rule.words))
    if isinstance(rule, allowed.Words)
    else st.from_regex(rule.pattern, fullmatch=True).filter(str.isascii)
    for name, rule in allowed.ACQUISITION.items()
    if not isinstance(rule, allowed.Text)
}
_acquisitions = st.fixed_dictionaries({}, optional=_acquired)
_labels = st.sampled_from(["mass", "Größe des Ödems", "脑出血", "T2/FLAIR (DWI), 3%", "x" * 80])
_keys = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
_sentences = st.text(max_size=40) | st.sampled_from(
    ["", "\x00\x1f\x7f", 'He said "no".\n\t\\', "\u2028\ufeff", "🩻 ‮rtl‬", "e\u0301 vs \u00e9"]
)


@st.composite
def any_study(draw: st.DrawFn) -> Study:
    """All that the allow-list lets through."""
    drawn = draw(st.lists(st.tuples(scans(), arrays()), max_size=4))
    texts = st.lists(_sentences, max_size=4).map(tuple)
    variants = st.sampled_from(["offline", "gpt-4.1-mini:v3", "org/Model_8B+x"])
    return replace(
        draw(studies()),
        scans=tuple(
            replace(
                scan, array=array, acquisition=draw(st.fixed_dictionaries({}, optional=_acquired))
            )
            for scan, array in drawn
        ),
        report=draw(
            st.just(Report())
            | st.builds(Report, st.dictionaries(variants, texts, max_size=3), _sentences)
        ),
        labels=draw(st.dictionaries(_labels, st.floats(0, 1) | st.integers(0, 1), max_size=4)),
        age_years=draw(st.none() | st.integers(0, 90)),
    )


@st.composite
def some_studies(draw: st.DrawFn) -> list[Study]:
    """Studies of different patients under different keys."""
    keys = draw(st.lists(_keys, min_size=1, max_size=3, unique=True))
    return [replace(draw(any_study()), key=key, patient=f"p{n}") for n, key in enumerate(keys)]


def write(folder: Path, made: Sequence[Study], compression: str) -> Dataset:
    with ShardWriter(folder, 0, compression) as writer:
        for study in made:
            writer.add(study)
    finish_dataset(folder, fingerprint="f", provenance={}, settings={})
    return Dataset.open(folder)


def assert_same(again: Study, study: Study) -> None:
    assert again == study
    for field in fields(Study):
        if field.name != "scans":
            assert getattr(again, field.name) == getattr(study, field.name), field.name
    assert len(again.scans) == len(study.scans)
    for one, other in zip(again.scans, study.scans, strict=True):
        for field in fields(Scan):
            if field.name != "array":
                assert getattr(one, field.name) == getattr(other, field.name), field.name
        assert (one.array.dtype, one.array.shape) == (other.array.dtype, other.array.shape)
        assert one.array.tobytes() == other.array.tobytes()  # -0.0 is not 0.0


def plain(value: Any) -> Any:
    """As JSON would have it."""
    return json.loads(json.dumps(value, default=vars))


def assert_plain_readers_agree(folder: Path, made: Sequence[Study]) -> None:
    """webdataset, json, zstandard and numpy, and the names of the fields of `study.records`."""
    url = str(folder / "00000.tar")
    for sample, study in zip(webdataset.WebDataset(url, shardshuffle=False), made, strict=True):
        meta = json.loads(sample["json"])
        assert sample["__key__"] == study.key == meta.pop("key")
        told, scans_told = plain(vars(study) | {"scans": None, "key": None}), meta.pop("scans")
        assert meta.pop("schema_version") == 1
        assert meta == {name: told[name] for name in meta}
        assert set(meta) == set(told) - {"scans", "key"}
        members = [name for name in sample if ".npy" in name]
        assert [name.split(".")[0] for name in members] == [s["member"] for s in scans_told]
        for scan, scan_told, name in zip(study.scans, scans_told, members, strict=True):
            data = zstandard.decompress(sample[name]) if name.endswith("zst") else sample[name]
            array = np.load(io.BytesIO(data), allow_pickle=False)
            assert (array.dtype, array.shape) == (scan.array.dtype, scan.array.shape)
            assert array.tobytes() == scan.array.tobytes()
            assert scan_told.pop("dtype") == str(array.dtype)
            assert scan_told.pop("shape") == list(array.shape)
            facts = {name: value for name, value in vars(scan).items() if name != "array"}
            assert scan_told == {"member": name.split(".")[0], **plain(facts)}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_studies(), st.sampled_from(["none", "zstd"]))
def test_what_was_written_is_read(made: list[Study], compression: str) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        dataset = write(Path(folder), made, compression)
        assert [ref.key for ref in dataset.samples()] == [study.key for study in made]
        for study in made:
            assert_same(dataset.study(study.key), study)
        assert_plain_readers_agree(Path(folder), made)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_more_than_a_hundred_scans(tmp_path: Path, compression: str) -> None:
    """s100 sorts before s99 by name: the order is that of the tar and of KEY.json."""
    study = study_of(1, scans=130, shape=(2, 3, 4))
    dataset = write(tmp_path, [study], compression)
    assert_same(dataset.study(study.key), study)
    assert_plain_readers_agree(tmp_path, [study])
    ref = dataset.find(study.key)
    assert np.array_equal(dataset.read_scan(ref, 117), study.scans[117].array)


def test_the_checks_of_this_file_find_a_difference() -> None:
    study = study_of(1)
    first, second = study.scans
    changed = [
        replace(study, age_years=None),
        replace(study, scans=(first,)),
        replace(study, scans=(second, first)),
        replace(study, scans=(first, replace(second, flags=()))),
        replace(study, scans=(first, replace(second, array=second.array.astype(np.int16)))),
    ]
    for other in changed:
        with pytest.raises(AssertionError):
            assert_same(other, study)
