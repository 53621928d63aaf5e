"""Series that we make, read by us and by dcm2niix: the same volumes, voxel for voxel, in the same
place. What it gets wrong (slices of several volumes numbered through, partial volumes) is left out;
docs/decisions/0002-grouping.md says why."""

from __future__ import annotations

import subprocess
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_files import save
from made_series import CASES
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from ingest import native
from ingest.crawl import crawl
from ingest.group import group_study
from ingest.pixels import read_volume
from study.ingest_sections import Rules, Select

dcm2niix = pytest.importorskip("dcm2niix")

Volume = tuple[np.ndarray, np.ndarray]
"""Voxels in RAS order, and the places of the eight corners, mm."""


def in_ras(voxels: np.ndarray, affine: np.ndarray) -> Volume:
    turn = io_orientation(affine)
    affine = affine @ inv_ornt_aff(turn, voxels.shape)
    voxels = apply_orientation(voxels, turn)
    ends = product(*((0, n - 1) for n in voxels.shape))
    return voxels, np.array([affine @ (*end, 1.0) for end in ends])[:, :3]


def ours(folder: Path) -> list[Volume]:
    images = crawl([str(folder)], folder / "none", lambda f, items: map(f, items), lambda *_: None)
    plans = group_study(images, Select(), Rules(max_volumes_per_series=99)).plans
    return [
        in_ras(read_volume(p, "keep").transpose(2, 1, 0).astype(float), native.nifti_affine(p))
        for p in plans
    ]


def theirs(folder: Path, out: Path) -> list[Volume]:
    out.mkdir()
    options = ["-b", "n", "-z", "n", "-p", "n", "-w", "2", "-f", "%j_%s", "-o"]
    subprocess.run([dcm2niix.bin, *options, out, folder], capture_output=True, check=True)
    found = []
    for file in sorted(out.glob("*.nii")):
        image = nibabel.load(file)
        data = np.asarray(image.dataobj, float)
        data = data.reshape(*data.shape[:3], -1)
        found += [in_ras(data[..., t], image.affine) for t in range(data.shape[3])]
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_same_volumes_in_the_same_place(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(CASES[name](), folder)
    found, wanted = ours(folder), theirs(folder, tmp_path / "out")
    assert len(found) == len(wanted) > 0
    for voxels, corners in found:
        equal = [
            other
            for other, (theirs_voxels, _) in enumerate(wanted)
            if voxels.shape == theirs_voxels.shape and np.allclose(voxels, theirs_voxels, atol=1e-3)
        ]
        assert len(equal) == 1
        np.testing.assert_allclose(corners, wanted.pop(equal[0])[1], atol=0.05)
