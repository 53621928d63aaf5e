"""Studies for the tests of shards: hypothesis strategies, and plain ones by number."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np

from shards import allowed
from shards.catalog import DatasetInfo
from shards.store import Location
from shards.writer import ShardWriter, finish_dataset
from study.records import FLAGS, Matrix, Reason, Report, Scan, Study

SHAPE = (4, 6, 5)
AXIAL: Matrix = (
    (0.0, 0.0, -2.0, 9.0),
    (0.0, 2.0, 0.0, -7.0),
    (5.0, 0.0, 0.0, 1.5),
    (0.0, 0.0, 0.0, 1.0),
)
"""(d, h, w) -> LPS of an axial R-P-I grid: columns run to the patient's right, rows to the back."""


def key_of(number: int) -> str:
    return f"{number:032x}"


def study_of(
    number: int, *, scans: int = 2, split: str = "train", shape: tuple[int, int, int] = SHAPE
) -> Study:
    """A study with random pixels, the same for the same number."""
    random = np.random.default_rng(number)
    made = tuple(
        Scan(
            array=random.integers(0, 256, shape, dtype=np.uint8),
            modality="MR",
            plane="axial",
            window="percentile",
            window_limits=(0.0, 812.5),
            spacing_mm=(5.0, 2.0, 2.0),
            affine=AXIAL,
            source_shape=(20, 256, 256),
            source_spacing_mm=(5.0, 0.9, 0.9),
            source_affine=AXIAL,
            series_index=index,
            flags=("GANTRY_TILT",) if index else (),
            acquisition={"echo_time_ms": 90.5, "manufacturer": "GE"},
            digest=f"{number:08x}",
        )
        for index in range(scans)
    )
    report = Report({"offline": (f"Finding {number}.", "No midline shift.")}, f"FINDINGS: {number}")
    patient = key_of(1000 + number)
    return Study(
        key_of(number),
        patient,
        split,
        made,
        report,
        {"mass": float(number % 2)},
        40 + number % 50,
        "F",
    )


def write_shard(
    dataset: Location, shard: int, numbers: range, compression: str = "none", **facts: object
) -> None:
    with ShardWriter(dataset, shard, compression, content=f"content {shard}") as writer:
        for number in numbers:
            writer.add(study_of(number, **facts))  # type: ignore[arg-type]


def make_dataset(
    dataset: Location, *, compression: str = "none", shards: int = 2, each: int = 3
) -> DatasetInfo:
    """A finished dataset: studies 0, 1, ... over shards, and in each one rejected study."""
    splits = ("train", "valid", "test")
    for shard in range(shards):
        with ShardWriter(dataset, shard, compression, content=f"content {shard}") as writer:
            for number in range(shard * each, (shard + 1) * each):
                writer.add(study_of(number, split=splits[number % 3]))
            writer.reject(key_of(500 + shard), key_of(1500 + shard), "train", Reason.NO_SCANS)
    return finish_dataset(
        dataset, fingerprint="f" * 64, provenance={"numpy": "2"}, settings={"grid": {"depth": 4}}
    )


_finite = st.floats(-1e4, 1e4)
_spacing = st.floats(0, 1e3)
_triple = st.tuples(_spacing, _spacing, _spacing)
_affine = st.tuples(*[st.tuples(_finite, _finite, _finite, _finite)] * 4)
_size = st.integers(1, 5)
_name = st.from_regex(r"[a-z][a-z_ ]{0,7}", fullmatch=True)
_facts: dict[str, st.SearchStrategy[str | float]] = {
    name: st.floats(rule.low, rule.high)
    for name, rule in allowed.ACQUISITION.items()
    if isinstance(rule, allowed.Range)
}
_facts["manufacturer"] = st.sampled_from(allowed.MANUFACTURERS)


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    shape = draw(st.tuples(_size, _size, _size))
    pixels = draw(st.binary(min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return Scan(
        array=np.frombuffer(pixels, np.uint8).reshape(shape),
        modality=draw(st.sampled_from(["CT", "MR"])),
        plane=draw(st.sampled_from(["axial", "coronal", "sagittal"])),
        window=draw(_name),
        window_limits=draw(st.tuples(_finite, _finite)),
        spacing_mm=draw(_triple),
        affine=draw(_affine),
        source_shape=draw(st.tuples(_size, _size, _size)),
        source_spacing_mm=draw(_triple),
        source_affine=draw(_affine),
        series_index=draw(st.integers(0, 99)),
        flags=tuple(draw(st.lists(st.sampled_from(sorted(FLAGS)), max_size=2))),
        acquisition=draw(st.fixed_dictionaries({}, optional=_facts)),
        digest=draw(st.text("0123456789abcdef", max_size=16)),
    )


@st.composite
def studies(draw: st.DrawFn, number: int = 0) -> Study:
    sentences = st.dictionaries(
        st.from_regex(allowed.VARIANT.pattern, fullmatch=True),
        st.lists(st.text(max_size=30), max_size=3).map(tuple),
        max_size=2,
    )
    return Study(
        key=key_of(number),
        patient=key_of(1000 + number),
        split=draw(st.sampled_from(["train", "valid", "test"])),
        scans=tuple(draw(st.lists(scans(), max_size=3))),
        report=Report(draw(sentences), draw(st.text(max_size=50))),
        labels=draw(st.dictionaries(_name, st.floats(0, 1), max_size=3)),
        age_years=draw(st.one_of(st.none(), st.integers(0, 90))),
        sex=draw(st.sampled_from(["", "F", "M", "O"])),
    )
