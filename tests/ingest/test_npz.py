"""Arrays of .npz files as volumes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.place import Place
from ingest.undecodable import UndecodableError
from ingest.volume_files import read_volume_header, read_voxels
from study.ingest_sections import VolumeFiles
from study.records import Instance, Reason

MR = VolumeFiles()


def read(file: Path, root: Path, settings: VolumeFiles = MR) -> list[Instance]:
    return read_volume_header(Place(str(file)), str(root), settings)


@pytest.mark.parametrize("compress", [False, True])
def test_npz(tmp_path: Path, compress: bool) -> None:
    file = tmp_path / "trn00001.npz"
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    (np.savez_compressed if compress else np.savez)(file, mask=voxels > 3, ct=voxels)
    other, row = read(file, tmp_path, VolumeFiles(modality="CT", npz_spacing_mm=(0.8, 0.7, 0.6)))
    assert (other.reason, other.frame) == (Reason.NOT_SELECTED, 0)
    assert (row.reason, row.frame, row.num_frames) == (None, 1, 2)
    assert (row.mosaic_tiles, row.rows, row.columns) == (3, 4, 5)
    assert (row.pixel_spacing_mm, row.spacing_between_slices_mm) == ((0.7, 0.6), 0.8)
    assert row.orientation == (1, 0, 0, 0, 1, 0)
    assert row.slice_normal == (0, 0, 1)
    assert "orientation assumed" in row.detail
    assert (row.study_uid, row.file_format) == ("trn00001", "npz")
    assert np.array_equal(read_voxels(Place(str(file)), "npz", 1), voxels)


def test_npz_in_fortran_order(tmp_path: Path) -> None:
    voxels = np.asfortranarray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    np.savez(tmp_path / "a.npz", ct=voxels)
    [row] = read(tmp_path / "a.npz", tmp_path)
    assert (row.mosaic_tiles, row.rows, row.columns) == (3, 4, 5)
    assert np.array_equal(read_voxels(Place(str(tmp_path / "a.npz")), "npz", 0), voxels)


class Poison:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("poisoned"),))


def test_pickles_are_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.empty((1, 1, 1), object)
    objects[0, 0, 0] = Poison()
    np.savez(tmp_path / "a.npz", ct=objects)
    assert b"touch" in pickle.dumps(Poison())
    [row] = read(tmp_path / "a.npz", tmp_path)
    assert row.reason is Reason.UNSUPPORTED_PHOTOMETRIC
    with pytest.raises(UndecodableError):
        read_voxels(Place(str(tmp_path / "a.npz")), "npz", 0)
    assert not (tmp_path / "poisoned").exists()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 4), np.int16), Reason.UNSUPPORTED_SOP_CLASS),
        (np.zeros((3, 4, 5, 2), np.int16), Reason.UNSUPPORTED_SOP_CLASS),
        (np.zeros((3, 4, 5), np.complex64), Reason.UNSUPPORTED_PHOTOMETRIC),
        (np.zeros((3, 4, 0), np.int16), Reason.UNSUPPORTED_SOP_CLASS),
    ],
)
def test_npz_arrays_that_are_no_volumes(tmp_path: Path, array: np.ndarray, reason: Reason) -> None:
    np.savez(tmp_path / "a.npz", ct=array)
    [row] = read(tmp_path / "a.npz", tmp_path)
    assert row.reason is reason


def test_broken_npz(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, ct=np.zeros((3, 4, 5)))
    content = file.read_bytes()
    file.write_bytes(content[:-30])
    assert [r.reason for r in read(file, tmp_path)] == [Reason.TRUNCATED]
    file.write_bytes(content.replace(b"PK\1\2", b"PK\1\3"))
    assert [r.reason for r in read(file, tmp_path)] == [Reason.UNREADABLE]
    file.write_bytes(content.replace(b"(3, 4, 5)", b"(3, 4, 9)"))
    [row] = read(file, tmp_path)
    assert row.reason in (Reason.TRUNCATED, Reason.UNREADABLE)
    np.savez(file)
    assert [r.reason for r in read(file, tmp_path)] == [Reason.NOT_DICOM]
