"""Conversion in less memory than the volume has: what is spooled and made slice by slice is the
same, and a worker stays small whatever the study."""

from __future__ import annotations

import errno
import gc
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import victims
from dicom_files import make_series, save
from hypothesis import given
from hypothesis import strategies as st
from large_studies import CASES, CHEST, CHEST_WINDOW, SERIES, SIDE, make
from volumes import plan_of

from ingest import convert, pixels, spooled, turned, volume
from ingest.grid import to_grid
from ingest.group import group_study
from ingest.header import read_header
from ingest.limits import MAX_FRAME_PIXELS
from ingest.plan import StudyTask
from ingest.slices import KINDS
from ingest.spooled import Spooled
from ingest.supervise import Limits, Supervised
from ingest.turned import Turned
from ingest.undecodable import UndecodableError, rejection_of
from ingest.volume import straighten
from shards.writer import ShardWriter
from study.ingest_sections import Grid, Intensity, Rules, Select
from study.records import Reason, ScanPlan, Slice, Study

MOST_BYTES = 2 * 10**9
"""What a worker with its decoding process may have resident."""
LIKELY_BYTES = 600 * 10**6
"""What each has at most in fact: a volume more would show, also where it is far below the limit."""
FAST = {"head": 1500, "tilted chest": 330}
"""Slices of the cases that every run measures: more than what is kept in memory."""


# -------------------------------------------------------------------------------- the same result


def noise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1500, 3000, shape).astype(dtype)


def spooled_copy(voxels: np.ndarray) -> Spooled:
    copy = Spooled(voxels.shape)
    for number in np.random.default_rng(0).permutation(len(voxels)).tolist():
        copy.put(number, voxels[number])
    return copy


@pytest.fixture
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every volume is treated as one that is larger than memory."""
    monkeypatch.setattr(pixels, "SMALL_VOXELS", 0)
    monkeypatch.setattr(volume, "SMALL_BYTES", 0)
    monkeypatch.setattr(turned, "BLOCK_BYTES", 2048)


@pytest.mark.parametrize("largest_in_memory", [0, 1 << 30])
def test_a_spooled_volume_reads_as_it_was_written(
    monkeypatch: pytest.MonkeyPatch, largest_in_memory: int
) -> None:
    monkeypatch.setattr(spooled, "LARGEST_IN_MEMORY", largest_in_memory)
    for kind in KINDS:
        voxels = noise((5, 4, 3), kind.str)
        copy = spooled_copy(voxels)
        assert copy.dtype == kind
        assert copy.shape == voxels.shape
        assert copy.size == voxels.size
        assert (copy.min(), copy.max()) == (voxels.min(), voxels.max())
        np.testing.assert_array_equal(list(copy), voxels)
    with pytest.raises(IndexError):
        copy[5]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(KINDS)), max_size=12))
def test_slices_of_several_types_become_what_they_do_in_an_array(
    written: list[tuple[int, np.dtype]],
) -> None:
    copy, array = Spooled((6, 2, 3)), pixels._Array((6, 2, 3))
    for seed, (number, kind) in enumerate(written):
        most = 2**30 if kind.itemsize > 2 else 2**14
        values = np.random.default_rng(seed).uniform(-most, most, (2, 3)).astype(kind)
        copy.put(number, values)
        array.put(number, values)
    assert copy.dtype == array.voxels.dtype
    np.testing.assert_array_equal(list(copy), array.voxels)


@given(
    st.permutations((0, 1, 2)),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=5),
    st.sampled_from((1, 64, 1 << 20)),
)
def test_planes_are_those_of_a_turned_array(
    order: list[int],
    flipped: tuple[bool, bool, bool],
    groups: list[list[int]],
    block_bytes: int,
) -> None:
    voxels = noise((4, 5, 6), "i2")
    expected = voxels.transpose(order)
    expected = np.flip(expected, np.flatnonzero(flipped))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turned, "BLOCK_BYTES", block_bytes)
        for source in (voxels, spooled_copy(voxels)):
            seen = Turned(source, (order[0], order[1], order[2]), flipped)
            assert seen.shape == expected.shape
            found = [list(planes) for planes in seen.planes(groups)]
            assert len(found) == len(groups)
            for group, planes in zip(groups, found, strict=True):
                np.testing.assert_array_equal(planes, expected[group])


AXES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)),
}


def a_plan(plane: str, modality: str, flags: tuple[str, ...]) -> ScanPlan:
    row, column, normal = AXES[plane]
    gaps = (
        np.where(np.arange(11) < 5, 0.8, 0.4) if "VARIABLE_SPACING" in flags else np.full(11, 0.5)
    )
    drift = 0.37 if "GANTRY_TILT" in flags else 0.0
    x, y, z = (0.5 * n + drift * c for n, c in zip(normal, column, strict=True))
    return replace(
        plan_of([Slice("", n) for n in range(12)], (20, 14), modality),
        row_direction=row,
        column_direction=column,
        slice_step_mm=(x, y, z),
        slice_spacing_mm=0.5,
        pixel_spacing_mm=(0.9, 0.6),
        offsets_mm=(0.0, *np.cumsum(gaps).tolist()),
        drift_mm=tuple((0.0, drift * n) for n in range(12)),
        flags=flags,
    )


GRIDS = [
    (Grid(depth=7, resize=16, size=12), Intensity()),
    (Grid(depth=7, resize=16, size=12, depth_interpolation="area", dtype="uint16"), Intensity()),
    (Grid(depth=40, resize=16, size=16, depth_interpolation="linear", reorient=False), Intensity()),
    (CHEST.model_copy(update={"depth": 6, "size": 9, "spacing_mm": (1.4, 0.8, 0.7)}), CHEST_WINDOW),
]


@pytest.mark.parametrize("flags", [(), ("GANTRY_TILT",), ("VARIABLE_SPACING",)])
@pytest.mark.parametrize("plane", AXES)
def test_scans_of_what_is_not_in_memory_are_the_same(
    plane: str, flags: tuple[str, ...], nothing_is_small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for modality in ("CT", "MR"):
        plan = a_plan(plane, modality, flags)
        voxels = noise((12, 20, 14), "i2", 3)
        lazy = straighten(spooled_copy(voxels), plan)
        with monkeypatch.context() as patch:
            patch.setattr(volume, "SMALL_BYTES", 1 << 28)
            whole = straighten(voxels, plan)
        assert isinstance(whole.voxels, np.ndarray)
        assert not isinstance(lazy.voxels, np.ndarray)
        assert (lazy.affine, lazy.filled) == (whole.affine, whole.filled)
        assert modality == "CT" or bool(whole.filled) == ("GANTRY_TILT" in flags)
        np.testing.assert_array_equal(list(lazy.voxels), whole.voxels)
        for grid, intensity in GRIDS:
            scans = to_grid(lazy, modality, grid, intensity)
            expected = to_grid(whole, modality, grid, intensity)
            assert scans
            assert scans == expected  # arrays too


# -------------------------------------------------------------------------------- the child


def saved_plan(folder: Path) -> tuple[ScanPlan, np.ndarray]:
    voxels = noise((6, 9, 8), "i2")
    paths = save(make_series(voxels), folder)
    return plan_of([Slice(str(path), 0) for path in paths], (9, 8)), voxels


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_a_child_hands_spooled_volumes_over(tmp_path: Path) -> None:
    plan, voxels = saved_plan(tmp_path)
    others = set(psutil.Process().children())
    with Supervised(Limits(cpu_s=30, memory_bytes=1 << 31)) as child:
        child.call(victims.reads_large, plan)
        before = open_files()
        found = [child.call(victims.reads_large, plan) for _ in range(3)]
        assert open_files() == before + 3
        for copy in found:  # each is in a file of its own, which later calls leave alone
            assert isinstance(copy, Spooled)
            np.testing.assert_array_equal(list(copy), voxels)
        del copy, found
        assert open_files() == before
        child.call(victims.echo, 1)
        [process] = set(psutil.Process().children()) - others
        theirs = process.num_fds()
        child.call(victims.reads_large, plan)
        child.call(victims.echo, 1)  # after which the child has given the last one away
        assert process.num_fds() == theirs, "the child keeps none"


# -------------------------------------------------------------------------------- limits


def test_want_of_memory_is_not_the_studys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the shard uncommitted, as a full disk does, and the study is tried again."""
    with pytest.raises(OSError, match="memory") as caught:
        rejection_of(MemoryError())
    assert caught.value.errno == errno.ENOMEM

    class Child:
        def call(self, *_: object) -> np.ndarray:
            return noise((12, 20, 14), "i2")

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(convert, "child_of_thread", lambda _: Child())
    monkeypatch.setattr(convert, "straighten", full)
    plans = (a_plan("axial", "CT", ()),)
    with pytest.raises(OSError, match="memory"):
        convert.convert_study(StudyTask("1", "a", "b", "train", plans, ("c",)), Grid(), Intensity())


def test_slices_larger_than_any_image_are_too_large() -> None:
    """By what the plan says, not by what memory there is."""
    plan = a_plan("axial", "CT", ("GANTRY_TILT",))
    far = replace(plan, drift_mm=tuple((0.0, 1e5 * n) for n in range(12)))
    with pytest.raises(UndecodableError) as caught:
        straighten(noise((12, 20, 14), "i2"), far)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_frame_larger_than_any_image_is_too_large(tmp_path: Path) -> None:
    side = int(MAX_FRAME_PIXELS**0.5)
    for rows, reason in ((side, Reason.UNDECODABLE_PIXELS), (side + 1, Reason.TOO_LARGE)):
        [dataset] = make_series(noise((1, 4, 4), "i2"))
        dataset.Rows, dataset.Columns = rows, side
        [path] = save([dataset], tmp_path)
        with pytest.raises(UndecodableError) as caught:
            pixels.read_volume(plan_of([Slice(str(path), 0)], (rows, side)))
        assert caught.value.reason is reason


def test_a_study_of_many_scans_is_put_aside_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    files = save(make_series(rng.integers(0, 500, (6, 16, 16))), tmp_path / "files")
    rows = [row for file in files for row in read_header(str(file))]
    plans = group_study(rows, Select(), Rules()).plans * 4
    task = StudyTask("1", "a" * 32, "b" * 32, "train", plans, ("c",) * len(plans))
    shards = []
    for kept in (10**9, 600, 0):  # bytes: all scans of 256, the first two, none
        monkeypatch.setattr("ingest.shelf.KEPT_BYTES", kept)
        study, _ = convert.convert_study(task, Grid(depth=4, resize=8, size=8), Intensity())
        assert isinstance(study, Study)
        kinds = [isinstance(scan.array, np.ndarray) for scan in study.scans]
        assert kinds.count(False) == {10**9: 0, 600: 2, 0: 4}[kept] if len(kinds) == 4 else False
        assert (
            pickle.loads(pickle.dumps(study.scans[-1].array)).tolist()
            == np.asarray(study.scans[-1].array).tolist()
        )
        with ShardWriter(tmp_path / f"{kept}", 0, "zstd") as writer:
            writer.add(study)
        del study
        gc.collect()
        shards.append((tmp_path / f"{kept}" / "00000.tar").read_bytes())
    assert shards[0] == shards[1] == shards[2]


# -------------------------------------------------------------------------------- peaks


def peaks(case: str, folder: Path, num_slices: int) -> dict[str, int]:
    """Peaks of resident memory of a fresh worker and its decoding process."""
    script = str(Path(__file__).with_name("large_studies.py"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    make(case, folder, num_slices)
    measure = [sys.executable, script, case, str(folder)]
    done = subprocess.run(measure, check=True, env=environment, stdout=subprocess.PIPE)
    found: dict[str, int] = json.loads(done.stdout)
    print(case, num_slices, done.stdout.decode())
    return found


def hold(case: str, folder: Path, num_slices: int) -> None:
    found = peaks(case, folder, num_slices)
    in_memory = min(4 * num_slices * SIDE * SIDE, spooled.LARGEST_IN_MEMORY)
    assert found["worker"] < LIKELY_BYTES
    assert found["child"] < LIKELY_BYTES
    assert found["worker"] + found["child"] + in_memory < MOST_BYTES


@pytest.mark.parametrize("case", FAST)
def test_a_worker_stays_below_its_limit(case: str, tmp_path: Path) -> None:
    hold(case, tmp_path, FAST[case])


@pytest.mark.slow
@pytest.mark.skipif("DICOM2CLIP_SOAK" not in os.environ, reason="some minutes: make soak")
@pytest.mark.parametrize("case", [*CASES, *SERIES, "many scans"])
def test_a_worker_stays_below_its_limit_whatever_the_study(case: str, tmp_path: Path) -> None:
    hold(case, tmp_path, 1500 if case in CASES else 0)
