"""Studies larger than a worker, converted in a process of their own that says what memory it took.

`make` writes a study; `python large_studies.py CASE FOLDER` converts it. In: a name of CASES or
SERIES, an empty folder. Out: a line of JSON: peaks of resident memory (VmHWM) of that process,
which does what a worker does, and of its decoding process, and what was made.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom
from dicom_files import make_slice, save
from enhanced_files import enhanced, item
from volumes import plan_of

from ingest.convert import convert_study
from ingest.group import group_study
from ingest.header import read_header
from ingest.plan import StudyTask
from study.ingest_sections import Grid, Intensity, Rules, Select
from study.records import ScanPlan, Slice, Study

SIDE = 512
FILES = 8
"""Different slices: a plan names them again and again."""
HEAD, WINDOWS = Grid(), Intensity()
CHEST = Grid(
    depth=112, resize=336, size=336, spacing_mm=(3.0, 1.0, 1.0), depth_interpolation="linear"
)
CHEST_WINDOW = Intensity(ct_windows={"chest": (-400.0, 1500.0)})


def ct(folder: Path, num_slices: int, **tags: Any) -> ScanPlan:
    """A regular stack, 0.6 mm apart, of noise within a round field of view."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    inside = np.hypot(x, y) < SIDE / 2
    pixels = [np.where(inside, rng.integers(-200, 1500, inside.shape), -2000) for _ in range(FILES)]
    paths = save([make_slice(p, modality="CT", **tags) for p in pixels], folder)
    slices = [Slice(str(paths[n % FILES]), 0) for n in range(num_slices)]
    return replace(
        plan_of(slices, (SIDE, SIDE), "CT"),
        pixel_spacing_mm=(0.5, 0.5),
        slice_spacing_mm=0.6,
        slice_step_mm=(0.0, 0.0, 0.6),
        offsets_mm=tuple(0.6 * n for n in range(num_slices)),
    )


def tilted(folder: Path, num_slices: int) -> ScanPlan:
    """The same with the gantry at 20 degrees: straight slices have up to 660 rows more."""
    plan = ct(folder, num_slices)
    drift = tuple((0.0, 0.22 * n) for n in range(num_slices))
    return replace(plan, drift_mm=drift, slice_step_mm=(0.0, 0.22, 0.6), flags=("GANTRY_TILT",))


def uneven(folder: Path, num_slices: int) -> ScanPlan:
    """The same, of which the first half is twice as far apart."""
    plan = ct(folder, num_slices)
    gaps = np.where(np.arange(num_slices - 1) < num_slices // 2, 1.2, 0.6)
    offsets = (0.0, *np.cumsum(gaps).round(3).tolist())
    return replace(plan, offsets_mm=offsets, flags=("VARIABLE_SPACING",))


def fractional(folder: Path, num_slices: int) -> ScanPlan:
    """Half units: values that only float32 holds."""
    return ct(folder, num_slices, RescaleSlope=0.5, RescaleIntercept=0)


def sagittal(folder: Path, num_slices: int) -> ScanPlan:
    """Slices along the patient's left-right axis: the model's D is an axis within them."""
    plan = ct(folder, num_slices)
    return replace(
        plan,
        row_direction=(0.0, 1.0, 0.0),
        column_direction=(0.0, 0.0, -1.0),
        slice_step_mm=(-0.4, 0.0, 0.0),
        slice_spacing_mm=0.4,
        offsets_mm=tuple(0.4 * n for n in range(num_slices)),
    )


def mr(folder: Path, num_slices: int) -> ScanPlan:
    """Percentiles of all voxels, of which those that shearing adds are none."""
    return replace(tilted(folder, num_slices), modality="MR")


CASES: dict[str, tuple[Callable[[Path, int], ScanPlan], Grid, Intensity]] = {
    "head": (ct, HEAD, WINDOWS),
    "chest": (ct, CHEST, CHEST_WINDOW),
    "tilted head": (tilted, HEAD, WINDOWS),
    "tilted chest": (tilted, CHEST, CHEST_WINDOW),
    "uneven head": (uneven, HEAD, WINDOWS),
    "uneven chest": (uneven, CHEST, CHEST_WINDOW),
    "fractional head": (fractional, HEAD, WINDOWS),
    "fractional tilted head": (
        lambda folder, n: replace(
            fractional(folder, n), drift_mm=tilted(folder / "t", n).drift_mm, flags=("GANTRY_TILT",)
        ),
        HEAD,
        WINDOWS,
    ),
    "sagittal chest": (sagittal, CHEST, CHEST_WINDOW),
    "tilted MR": (mr, HEAD, WINDOWS),
}


def many_files(folder: Path) -> None:
    """400 images in time of 25 slices of 64 x 64, a file each."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for s in range(25):
        tags = {"AcquisitionTime": "000000", "InstanceNumber": 10000, "SeriesNumber": 5}
        one = make_slice(rng.integers(0, 999, (64, 64)), position=(0.0, 0.0, 3.0 * s), **tags)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = "1.2.3.100000"
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, one, enforce_file_format=True)
        for t in range(400):
            number = f"{10000 + 25 * t + s}"
            data = stream.getvalue().replace(b"1.2.3.100000", f"1.2.3.1{number}".encode())
            time = f"{t // 60:04d}{t % 60:02d}".encode()
            data = data.replace(b"10000 ", number.encode() + b" ").replace(b"000000", time)
            (folder / number).write_bytes(data)


def many_frames(folder: Path) -> None:
    """100 images in time of 100 slices of 128 x 128, one file."""
    rng = np.random.default_rng(0)
    pixels = np.broadcast_to(rng.integers(0, 999, (100, 1, 128, 128)), (100, 100, 128, 128))
    order = [(s, t) for s in range(100) for t in range(100)]
    groups = [
        {"FrameContentSequence": item(InStackPositionNumber=s + 1, TemporalPositionIndex=t + 1)}
        for s, t in order
    ]
    places = [(0.0, 0.0, 1.5 * s) for s, _ in order]
    save([enhanced(pixels.reshape(-1, 128, 128), places, groups)], folder)


MANY_SCANS = 500
"""Of 2.4 MB each: more than half of them are put aside."""


def many_scans(folder: Path) -> None:
    """A small stack, which a plan names again and again."""
    rng = np.random.default_rng(0)
    places = [(0.0, 0.0, 3.0 * n) for n in range(6)]
    save([make_slice(rng.integers(0, 999, (32, 32)), position=place) for place in places], folder)


SERIES: dict[str, Callable[[Path], None]] = {
    "many files": many_files,
    "many frames": many_frames,
}
"""4D series of 10,000 images: what reads headers and groups is measured too."""


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def make(case: str, folder: Path, num_slices: int) -> None:
    """Files of a study, and its plan where it is not grouped as it comes."""
    if case == "many scans":
        many_scans(folder / "files")
    elif case in SERIES:
        SERIES[case](folder / "files")
    else:
        plan = CASES[case][0](folder / "files", num_slices)
        (folder / "plan").write_bytes(pickle.dumps(plan))


def measure(case: str, folder: Path) -> None:
    """Do what workers do, headers included, and say what it took."""
    _, grid, intensity = CASES.get(case, (None, HEAD, WINDOWS))
    if case == "many scans":
        paths = sorted((folder / "files").iterdir())
        rows = [row for path in paths for row in read_header(str(path))]
        plans = group_study(rows, Select(), Rules()).plans * MANY_SCANS
    elif case in SERIES:
        paths = sorted((folder / "files").iterdir())
        rows = [row for path in paths for row in read_header(str(path))]
        assert len(rows) == 10_000
        plans = group_study(rows, Select(), Rules()).plans
        assert len(plans) == 2, "of a 4D series so many are kept"
    else:
        plans = (pickle.loads((folder / "plan").read_bytes()),)
    task = StudyTask("1", "a" * 32, "b" * 32, "train", plans, ("c",) * len(plans))
    study, failures = convert_study(task, grid, intensity)
    assert isinstance(study, Study), failures
    [child] = psutil.Process().children()
    facts = {
        "worker": peak_bytes(psutil.Process().pid),
        "child": peak_bytes(child.pid),
        "scans": [[scan.window, *scan.array.shape] for scan in study.scans[:9]],
        "sha256": _sha256(study),
    }
    print(json.dumps(facts))


def _sha256(study: Study) -> str:
    found = hashlib.sha256()
    for scan in study.scans:
        found.update(np.asarray(scan.array).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    measure(sys.argv[1], Path(sys.argv[2]))
