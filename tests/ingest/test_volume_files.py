"""NIfTI and npz volumes: geometry against nibabel's, voxels, studies from paths, broken files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.place import Place
from ingest.undecodable import UndecodableError
from ingest.volume_files import is_current, read_volume_header, read_voxels
from study.ingest_sections import VolumeFiles
from study.records import Instance, Reason

MR = VolumeFiles()
CT = VolumeFiles(modality="CT")
VOXELS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # (i, j, k)
OBLIQUE = np.array(
    [
        [-1.9, 0.1, 0.5, 90.0],
        [0.1, 2.5, -0.3, -126.0],
        [0.2, 0.2, 4.9, -72.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def straight(affine: np.ndarray) -> np.ndarray:
    """The nearest affine with rows and columns at right angles."""
    fixed = affine.copy()
    i = fixed[:3, 0] / np.linalg.norm(fixed[:3, 0])
    fixed[:3, 1] -= (fixed[:3, 1] @ i) * i
    return fixed


def save(file: Path, voxels: np.ndarray = VOXELS, affine: Any = None, **fields: Any) -> Path:
    """Write a NIfTI file; `version=2` makes it a NIfTI-2."""
    kind = nibabel.Nifti2Image if fields.pop("version", 1) == 2 else nibabel.Nifti1Image
    image = kind(voxels, straight(OBLIQUE) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, file)
    return file


def read(file: Path, root: Path, settings: VolumeFiles = MR) -> list[Instance]:
    return read_volume_header(Place(str(file)), str(root), settings)


def affine_of(row: Instance) -> np.ndarray:
    """The NIfTI affine (RAS) that an Instance stands for."""
    assert row.position_mm
    assert row.orientation
    assert row.pixel_spacing_mm
    assert row.slice_normal
    assert row.spacing_between_slices_mm
    lps = np.eye(4)
    lps[:3, 0] = np.array(row.orientation[:3]) * row.pixel_spacing_mm[1]
    lps[:3, 1] = np.array(row.orientation[3:]) * row.pixel_spacing_mm[0]
    lps[:3, 2] = np.array(row.slice_normal) * row.spacing_between_slices_mm
    lps[:3, 3] = row.position_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "any name"])
@pytest.mark.parametrize("version", [1, 2])
def test_geometry_and_voxels(tmp_path: Path, name: str, version: int) -> None:
    suffix = ".nii.gz" if name.endswith("gz") else ".nii"
    file = save(tmp_path / "case" / f"x{suffix}", version=version).rename(tmp_path / "case" / name)
    [row] = read(file, tmp_path)
    assert (row.mosaic_tiles, row.rows, row.columns, row.tiles_across) == (4, 3, 2, 0)
    assert np.allclose(affine_of(row), straight(OBLIQUE), atol=1e-4)
    assert (row.file_format, row.num_frames, row.modality) == ("nifti", 1, "MR")
    assert (row.image_type, row.photometric) == (("ORIGINAL", "PRIMARY"), "MONOCHROME2")
    assert row.reason is None
    voxels = read_voxels(Place(str(file)), "nifti", 0)
    assert voxels.dtype == VOXELS.dtype
    assert np.array_equal(voxels, VOXELS.transpose(2, 1, 0))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_four_dimensions_are_frames(tmp_path: Path, suffix: str) -> None:
    voxels = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    file = save(tmp_path / f"a{suffix}", voxels)
    rows = read(file, tmp_path)
    assert [(r.frame, r.num_frames) for r in rows] == [(n, 6) for n in range(6)]
    for n in (0, 3, 5):
        assert np.array_equal(
            read_voxels(Place(str(file)), "nifti", n), voxels[..., n].transpose(2, 1, 0)
        )
    with pytest.raises(UndecodableError):
        read_voxels(Place(str(file)), "nifti", 6)


def test_trailing_dimensions_of_one_are_none(tmp_path: Path) -> None:
    [row] = read(save(tmp_path / "a.nii", VOXELS[..., None, None]), tmp_path)
    assert (row.num_frames, row.mosaic_tiles, row.reason) == (1, 4, None)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", ">f4", "<u4", "<f8"])
def test_types_and_scaling_are_nibabels(tmp_path: Path, dtype: str) -> None:
    voxels = (VOXELS * 3).astype(dtype)
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    if dtype.startswith(">"):
        image = nibabel.Nifti1Image(voxels, np.eye(4), image.header.as_byteswapped(">"))
    image.header.set_slope_inter(0.5, -1024)
    nibabel.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    order = ">" if dtype.startswith(">") else "<"
    raw[112:120] = np.array([0.5, -1024], f"{order}f4").tobytes()  # save() resets them
    (tmp_path / "a.nii").write_bytes(raw)
    ours = read_voxels(Place(str(tmp_path / "a.nii")), "nifti", 0)
    theirs = nibabel.load(tmp_path / "a.nii").get_fdata()  # type: ignore[attr-defined]
    assert ours.dtype == np.float32
    assert np.allclose(ours, theirs.transpose(2, 1, 0))
    assert ours.min() == -1024


def test_voxels_that_are_not_numbers(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    file = save(tmp_path / "a.nii", voxels)
    values = read_voxels(Place(str(file)), "nifti", 0)
    assert [values[0, 0, 0], values[1, 0, 0], values[2, 0, 0]] == [3, 23, 3]
    save(file, np.full((2, 3, 4), np.nan, np.float32))
    with pytest.raises(UndecodableError, match="no finite voxel"):
        read_voxels(Place(str(file)), "nifti", 0)


angles = st.tuples(*[st.floats(-3, 3)] * 3)


@settings(max_examples=50)
@given(angles=angles, steps=st.tuples(*[st.floats(0.3, 8)] * 3), flip=st.booleans())
def test_qform_and_sform_give_the_same_place(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    steps: tuple[float, float, float],
    flip: bool,
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = nibabel.eulerangles.euler2mat(*angles) * steps
    affine[:3, 2] *= -1 if flip else 1
    affine[:3, 3] = (-30, 40, 500)
    image = nibabel.Nifti1Image(VOXELS, None)
    image.set_qform(affine, code=1)
    folder = tmp_path_factory.mktemp("q")
    nibabel.save(image, folder / "q.nii")
    image.set_qform(None)
    image.set_sform(affine, code=2)
    nibabel.save(image, folder / "s.nii")
    for name in ("q.nii", "s.nii"):
        [row] = read(folder / name, folder)
        assert np.allclose(affine_of(row), affine, atol=1e-3)
        assert row.detail == ""


def test_sform_goes_before_qform_and_pixdim_is_the_last_resort(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_zooms((2.0, 3.0, 4.0))
    nibabel.save(image, tmp_path / "a.nii")
    [row] = read(tmp_path / "a.nii", tmp_path)
    assert row.pixel_spacing_mm == (3.0, 2.0)
    assert row.spacing_between_slices_mm == 4.0
    assert "assumed" in row.detail
    image.set_qform(np.diag([5.0, 5.0, 5.0, 1.0]), code=1)
    image.set_sform(np.diag([6.0, 6.0, 7.0, 1.0]), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    [row] = read(tmp_path / "a.nii", tmp_path)
    assert (row.pixel_spacing_mm, row.spacing_between_slices_mm) == ((6.0, 6.0), 7.0)


def test_units_other_than_mm(tmp_path: Path) -> None:
    [row] = read(save(tmp_path / "a.nii", affine=np.eye(4) * 0.002, xyzt_units=1), tmp_path)
    assert row.spacing_between_slices_mm == pytest.approx(2.0)
    [row] = read(save(tmp_path / "b.nii", affine=np.eye(4) * 500, xyzt_units=3), tmp_path)
    assert row.pixel_spacing_mm == pytest.approx((0.5, 0.5))


SHEARED = np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
FLAT = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]], float)


@pytest.mark.parametrize(
    ("voxels", "affine", "fields", "reason"),
    [
        (VOXELS, SHEARED, {}, Reason.MISSING_GEOMETRY),
        (VOXELS, FLAT, {}, Reason.MISSING_GEOMETRY),
        (VOXELS, np.eye(4), {"srow_x": [np.nan, 0, 0, 0]}, Reason.MISSING_GEOMETRY),
        (VOXELS, np.eye(4), {"srow_x": [0, 0, 0, 0]}, Reason.MISSING_GEOMETRY),
        (VOXELS.astype(np.complex64), np.eye(4), {}, Reason.UNSUPPORTED_PHOTOMETRIC),
        (VOXELS, np.eye(4), {"datatype": 128}, Reason.UNSUPPORTED_PHOTOMETRIC),
        (VOXELS, np.eye(4), {"datatype": 999}, Reason.UNSUPPORTED_PHOTOMETRIC),
        (VOXELS[..., 0], np.eye(4), {}, Reason.TOO_FEW_SLICES),
        (np.zeros((2, 2, 2, 2, 3), np.int16), np.eye(4), {}, Reason.UNSUPPORTED_SOP_CLASS),
        (VOXELS, np.eye(4), {"intent_code": 1002}, Reason.DERIVED_MAP),
        (VOXELS, np.eye(4), {"dim": [3, 2, -3, 4, 1, 1, 1, 1]}, Reason.UNREADABLE),
        (VOXELS, np.eye(4), {"dim": [3, 200, 300, 4, 1, 1, 1, 1]}, Reason.TRUNCATED),
        (VOXELS, np.eye(4), {"dim": [4, 1, 1, 1, 32767, 1, 1, 1]}, Reason.TRUNCATED),
    ],
)
def test_what_is_no_volume_says_why(
    tmp_path: Path, voxels: np.ndarray, affine: np.ndarray, fields: dict[str, Any], reason: Reason
) -> None:
    file = save(tmp_path / "case" / "a.nii", voxels, affine)
    header = nibabel.load(file).header.copy()  # type: ignore[attr-defined]
    for name, value in fields.items():
        header[name] = value
    file.write_bytes(header.binaryblock + file.read_bytes()[348:])
    [row] = read(file, tmp_path)
    assert (row.reason, row.study_uid) == (reason, "case")
    assert row.detail


def test_a_gz_cannot_promise_more_than_deflate_gives(tmp_path: Path) -> None:
    file = save(tmp_path / "a.nii", np.zeros((4, 4, 4), np.int16))
    header = nibabel.load(file).header.copy()  # type: ignore[attr-defined]
    header["dim"] = [4, 30000, 30000, 30000, 30000, 1, 1, 1]
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4 + 128)))
    [row] = read(tmp_path / "a.nii.gz", tmp_path)
    assert row.reason is Reason.TRUNCATED


def test_truncated_files(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 999, (16, 16, 16), np.int16)
    plain = save(tmp_path / "a.nii", voxels)
    plain.write_bytes(plain.read_bytes()[:-1])
    [row] = read(plain, tmp_path)
    assert (row.reason, row.detail) == (Reason.TRUNCATED, "1 bytes are missing")
    packed = save(tmp_path / "b.nii.gz", voxels)
    packed.write_bytes(packed.read_bytes()[:-2000])
    [row] = read(packed, tmp_path)
    assert row.reason is None  # nobody can see it without unpacking the whole
    with pytest.raises(UndecodableError) as error:
        read_voxels(Place(str(packed)), "nifti", 0)
    assert error.value.reason is Reason.TRUNCATED
    packed.write_bytes(packed.read_bytes()[:100])
    [row] = read(packed, tmp_path)
    assert row.reason is Reason.TRUNCATED


@settings(max_examples=60)
@given(flips=st.lists(st.tuples(st.integers(0, 351), st.integers(1, 255)), min_size=1, max_size=4))
def test_damaged_headers_are_rows(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(save(folder / "a.nii").read_bytes())
    for place, bits in flips:
        content[place] ^= bits
    (folder / "a.nii").write_bytes(content)
    for row in read(folder / "a.nii", folder):
        assert row.reason is not None or np.isfinite(affine_of(row)).all()
        if row.reason is None:
            try:
                shape = read_voxels(Place(str(folder / "a.nii")), "nifti", row.frame).shape
            except UndecodableError:
                continue
            assert shape == (row.mosaic_tiles, row.rows, row.columns)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x5c\x01\0\0" * 200, gzip.compress(b"x" * 999)]
)
def test_other_files_are_none_of_ours(tmp_path: Path, content: bytes) -> None:
    for name in ("a.nii", "a.nii.gz", "a.npz", "a.json"):
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name, tmp_path) == []


# -------------------------------------------------------------------------------- studies


@pytest.mark.parametrize(
    ("below", "pattern", "study", "patient"),
    [
        ("case1/t1.nii", "", "case1", "case1"),
        ("site/case1/t1.nii.gz", "", "site/case1", "site/case1"),
        ("case1.nii.gz", "", "case1", "case1"),
        (
            "train/train_1/train_1_a/train_1_a_2.nii.gz",
            r"(?P<study>(?P<patient>train_\d+)_[a-z])_\d+",
            "train_1_a",
            "train_1",
        ),
        ("valid/other.nii", r"(?P<study>train_\d+)", "", ""),
    ],
)
def test_studies_come_from_the_path(
    tmp_path: Path, below: str, pattern: str, study: str, patient: str
) -> None:
    [row] = read(save(tmp_path / below), tmp_path, VolumeFiles(modality="CT", pattern=pattern))
    assert (row.study_uid, row.patient_key) == (study, f"|{patient}")
    assert row.series_uid == row.sop_uid == below
    assert row.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert row.series_description == Path(below).name.split(".")[0]
    assert row.reason is (None if study else Reason.MISSING_UID)


def test_a_pattern_without_a_study_is_refused() -> None:
    with pytest.raises(ValueError, match="a group named study"):
        VolumeFiles(pattern=r"train_\d+")
    with pytest.raises(ValueError, match="not a regular expression"):
        VolumeFiles(pattern="(")


def test_rows_are_current_only_under_the_settings_that_made_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ct=np.zeros((3, 4, 5)), other=np.zeros((3, 4, 5)))
    rows = [*read(tmp_path / "a.npz", tmp_path), *read(save(tmp_path / "b.nii"), tmp_path)]
    assert all(is_current(row, str(tmp_path), MR) for row in rows)
    changed: dict[str, tuple[VolumeFiles, int]] = {
        "modality": (CT, 3),
        "pattern": (VolumeFiles(pattern=r"(?P<study>.)\.n"), 0),
        "other pattern": (VolumeFiles(pattern=r"\.(?P<study>n)"), 3),
        "npz_key": (VolumeFiles(npz_key="other"), 2),
        "npz_spacing_mm": (VolumeFiles(npz_spacing_mm=(0.8, 0.8, 0.9)), 1),
    }
    for settings_now, stale in changed.values():
        found = [is_current(row, str(tmp_path), settings_now) for row in rows]
        assert found.count(False) == stale
