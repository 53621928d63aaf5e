"""Where the bytes of pixels are: archives, volume files, old files; and what tells images apart."""

from __future__ import annotations

import io
import sys
import tarfile
import types
from pathlib import Path

import encoding
import numpy as np
import pydicom
import pytest
from dicom_files import make_slice, save
from encoding import compressed, image_of
from pydicom.dataset import Dataset
from volumes import RAMP, plan_of

from ingest.pixels import digests, read_volume
from ingest.place import Place, place_of
from study.records import Slice

# -------------------------------------------------------------------------------- places


def test_members_of_an_archive(tmp_path: Path) -> None:
    paths = save([make_slice(RAMP + n) for n in range(3)], tmp_path)
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for path in paths:
            tar.add(path, path.name)
    with tarfile.open(archive) as tar:
        slices = [
            Slice(f"{archive}!/{m.name}", 0, -1, str(archive), m.offset_data, m.size) for m in tar
        ]
    for path in paths:
        path.unlink()
    found = read_volume(plan_of(slices, (8, 8)))
    assert np.array_equal(found, np.stack([RAMP, RAMP + 1, RAMP + 2]))
    assert len({digests(place_of(s))[0] for s in slices}) == 3


def test_slices_of_volume_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read_voxels(place: Place, file_format: str, frame: int) -> np.ndarray:
        asked.append((place, file_format, frame))
        return np.stack([RAMP, RAMP + 1, RAMP + 2]).astype(np.float32) + frame / 2

    module = types.ModuleType("ingest.volume_files")
    module.read_voxels = read_voxels  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ingest.volume_files", module)
    slices = [Slice("a!/b.nii", 1, n, "a.zip", 50, 999, file_format="nifti") for n in (2, 0)]
    found = read_volume(plan_of(slices, (8, 8)))
    assert np.array_equal(found, np.stack([RAMP + 2.5, RAMP + 0.5]))
    assert asked == [(Place("a!/b.nii", "a.zip", 50, 999), "nifti", 1)]


def test_a_missing_file_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_volume(plan_of([Slice(str(tmp_path / "none"), 0)], (8, 8)))


def test_files_without_meta_information(tmp_path: Path) -> None:
    for is_implicit in (True, False):
        buffer = io.BytesIO()
        ds = make_slice(RAMP)
        del ds.file_meta
        pydicom.dcmwrite(buffer, ds, implicit_vr=is_implicit, little_endian=True)
        path = tmp_path / f"{is_implicit}.dcm"
        path.write_bytes(buffer.getvalue())
        assert np.array_equal(read_volume(plan_of([Slice(str(path), 0)], (8, 8)))[0], RAMP)


# -------------------------------------------------------------------------------- digests


def test_digests_say_whether_two_images_are_the_same(tmp_path: Path) -> None:
    def digest(ds: Dataset, name: str) -> str:
        [path] = save([ds], tmp_path, name)
        [found] = digests(Place(str(path)))
        return found

    pixels = np.arange(48 * 40).reshape(48, 40)
    first = digest(image_of(pixels, 12), "a")
    assert digest(image_of(pixels, 12, RescaleSlope=1, RescaleIntercept=0), "b") == first
    assert digest(compressed(image_of(pixels, 12), encoding.JPEG_2000), "c") == first
    assert digest(image_of(pixels, 16), "d") == first
    others = [
        image_of(pixels, 12, RescaleIntercept=-1024),
        image_of(pixels, 12, RescaleSlope=2),
        image_of(pixels, 12, PhotometricInterpretation="MONOCHROME1"),
        image_of(pixels.reshape(40, 48), 12),
        image_of(np.where(pixels == 7, 8, pixels), 12),
    ]
    assert len({first, *(digest(ds, f"o{n}") for n, ds in enumerate(others))}) == 6


def test_what_cannot_be_read_is_no_copy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"nothing")
    assert digests(Place(str(tmp_path / "a"))) != digests(Place(str(tmp_path / "b")))
    assert digests(Place(str(tmp_path / "none"))) != digests(Place(str(tmp_path / "a")))
    frames = np.stack([RAMP, RAMP + 1, RAMP])
    [path] = save([image_of(frames, 16, is_signed=True)], tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    first, second, cut = digests(Place(str(path)))
    assert first != second
    assert cut.startswith("undecodable")
    [path] = save([image_of(RAMP, 16, is_signed=True, NumberOfFrames=2_000_000_000)], tmp_path, "m")
    assert len(digests(Place(str(path)))) == 1
