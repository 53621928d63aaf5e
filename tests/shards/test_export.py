"""`shards export`: read again by nibabel and SimpleITK, and laid on the source's own NIfTI."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from made_studies import AXIAL, key_of, make_dataset, study_of
from test_shards_cli import run
from typer.testing import CliRunner

import dicom2clip
from shards.export import nifti_affine
from shards.reader import Dataset
from shards.writer import ShardWriter, finish_dataset
from study.errors import UserError
from study.records import Matrix, Study

OBLIQUE: Matrix = (
    (0.4, -1.2, -1.6, 9.0),
    (-0.3, 1.6, -1.2, -7.0),
    (5.0, 0.2, 0.0, 1.5),
    (0.0, 0.0, 0.0, 1.0),
)
"""Sheared a little: (d, h, w) -> LPS."""
LANDMARK = (3, 1, 4)
"""(d, h, w)"""


def dataset_of(folder: Path, *studies: Study) -> Path:
    with ShardWriter(folder, 0, "zstd") as writer:
        for study in studies:
            writer.add(study)
    finish_dataset(folder, fingerprint="f" * 64, provenance={}, settings={})
    return folder


def with_landmark(affine: Matrix, **facts: Any) -> Study:
    """One scan of 100 with one voxel of 200."""
    study = study_of(1, scans=1)
    array = np.full((5, 6, 7), 100, np.uint8)
    array[LANDMARK] = 200
    scan = replace(study.scans[0], array=array, affine=affine, **facts)
    return replace(study, scans=(scan,))


def lps_of(affine: Matrix, index: tuple[int, int, int]) -> np.ndarray:
    place: np.ndarray = (np.array(affine) @ [*index, 1])[:3]
    return place


@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_a_landmark_lies_where_it_lay(tmp_path: Path, affine: Matrix) -> None:
    data = dataset_of(tmp_path / "data", with_landmark(affine))
    run("export", data, key_of(1), "-o", tmp_path / "out")
    file = tmp_path / "out" / key_of(1) / "s00.nii.gz"
    image = nibabel.load(file)
    voxels = np.asarray(image.dataobj)
    assert image.get_data_dtype() == np.uint8
    assert voxels.shape == (7, 6, 5)
    found = np.argwhere(voxels == 200)
    assert found.tolist() == [[4, 1, 3]]  # (w, h, d)
    ras = (image.affine @ [*found[0], 1])[:3]
    np.testing.assert_allclose(ras, lps_of(affine, LANDMARK) * [-1, -1, 1], atol=1e-5)
    assert nibabel.aff2axcodes(image.affine) == ("R", "P", "S")


def test_simpleitk_finds_it_there_too(tmp_path: Path) -> None:
    data = dataset_of(tmp_path / "data", with_landmark(AXIAL))
    run("export", data, key_of(1), "-o", tmp_path / "out")
    image = sitk.ReadImage(str(tmp_path / "out" / key_of(1) / "s00.nii.gz"))
    array = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(array, with_landmark(AXIAL).scans[0].array)
    place = image.TransformIndexToPhysicalPoint(LANDMARK[::-1])  # SimpleITK speaks LPS
    np.testing.assert_allclose(place, lps_of(AXIAL, LANDMARK), atol=1e-5)
    assert image.GetSpacing() == pytest.approx((2, 2, 5))


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_the_affine_turns_axes_and_world(index: list[int]) -> None:
    d, h, w = index
    ras = (nifti_affine(OBLIQUE) @ [w, h, d, 1])[:3]
    np.testing.assert_allclose(ras, lps_of(OBLIQUE, (d, h, w)) * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float16", 1)])
def test_units_are_those_of_the_window(tmp_path: Path, dtype: str, top: float) -> None:
    study = with_landmark(AXIAL, modality="CT", window="brain", window_limits=(-20.0, 80.0))
    array = np.zeros((5, 6, 7), dtype)
    array[0, 0, 0], array[0, 0, 1] = top, top / 2
    study = replace(study, scans=(replace(study.scans[0], array=array),))
    data = dataset_of(tmp_path / "data", study)
    run("export", data, key_of(1), "-o", tmp_path / "hu", "--units")
    file = tmp_path / "hu" / key_of(1) / "s00.nii.gz"
    values = np.asarray(nibabel.load(file).dataobj)
    step = 100 / 255 if dtype == "uint8" else 0.01
    assert values[0, 0, 0] == pytest.approx(80, abs=1e-4)
    assert values[1, 0, 0] == pytest.approx(30, abs=step)
    assert values[2, 0, 0] == pytest.approx(-20, abs=1e-4)
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    np.testing.assert_allclose(read, values.T, atol=1e-3)
    run("export", data, key_of(1), "-o", tmp_path / "stored")
    stored = nibabel.load(tmp_path / "stored" / key_of(1) / "s00.nii.gz")
    np.testing.assert_array_equal(np.asarray(stored.dataobj).T, array)


def test_headers_hold_nothing_but_facts_of_the_list(tmp_path: Path) -> None:
    data = dataset_of(tmp_path / "data", study_of(1, scans=1))
    run("export", data, key_of(1), "-o", tmp_path / "out")
    packed = (tmp_path / "out" / key_of(1) / "s00.nii.gz").read_bytes()
    assert packed[3] == 0  # no name, no comment, no extra field (RFC 1952)
    assert packed[4:8] == bytes(4)  # no time
    header = nibabel.Nifti1Header(gzip.decompress(packed)[:348])
    texts = {
        name: bytes(header[name]).rstrip(b"\0") for name in header if header[name].dtype.kind == "S"
    }
    assert texts.pop("magic") == b"n+1"
    assert texts.pop("descrip") == b"MR axial percentile"
    assert set(texts.values()) == {b""}
    assert gzip.decompress(packed)[348:352] == bytes(4)  # no extensions
    again = tmp_path / "again"
    run("export", data, key_of(1), "-o", again)
    assert (again / key_of(1) / "s00.nii.gz").read_bytes() == packed


def test_facts_lie_beside(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    run("export", tmp_path / "data", "--split", "valid", "-o", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [key_of(1), key_of(4)]
    folder = tmp_path / "out" / key_of(1)
    study = json.loads((folder / "study.json").read_text())
    assert study["labels"] == {"mass": 1.0}
    assert study["scans"] == ["s00.nii.gz", "s01.nii.gz"]
    scan = json.loads((folder / "s01.json").read_text())
    assert scan["acquisition"]["echo_time_ms"] == 90.5
    assert scan["nifti_values"] == "as stored"
    assert (folder / "sentences.txt").read_text() == "# offline\nFinding 1.\nNo midline shift.\n"
    assert len(list(folder.iterdir())) == 6


def test_nothing_is_replaced_unless_told_to(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    run("export", tmp_path / "data", key_of(1), "-o", tmp_path / "out")
    mine = tmp_path / "out" / key_of(1) / "s00.json"
    mine.write_text("mine")
    with pytest.raises(UserError, match="--force"):
        run("export", tmp_path / "data", "--all", "-o", tmp_path / "out")
    assert mine.read_text() == "mine"
    assert not (tmp_path / "out" / key_of(0)).exists()
    run("export", tmp_path / "data", "--all", "-o", tmp_path / "out", "--force")
    assert mine.read_text() != "mine"
    run("export", tmp_path / "data", "--table", tmp_path / "t.csv")
    with pytest.raises(UserError, match="--force"):
        run("export", tmp_path / "data", "--table", tmp_path / "t.csv")


def test_a_table_of_labels(tmp_path: Path) -> None:
    labels: list[dict[str, float]] = [{"mass": 1.0, "sex": 0.0}, {"mass": 0.5}]
    made = [replace(study_of(n), labels=found) for n, found in enumerate(labels)]
    data = dataset_of(tmp_path / "data", *made, replace(study_of(2), labels={}, age_years=None))
    run("export", data, "--table", tmp_path / "t.parquet")
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["mass"] for row in rows] == [1.0, 0.5, None]
    assert [row["label sex"] for row in rows] == [0.0, None, None]
    assert [row["age_years"] for row in rows] == [40, 41, None]
    assert [row["key"] for row in rows] == [key_of(0), key_of(1), key_of(2)]
    run("export", data, key_of(1), "--table", tmp_path / "t.csv")
    assert pa_csv.read_csv(tmp_path / "t.csv").num_rows == 1


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predictions_beside_labels(tmp_path: Path, ending: str) -> None:
    make_dataset(tmp_path / "data")
    given_ = tmp_path / f"p.{ending}"
    rows = [(key_of(4), 0.25), (key_of(1), 0.75), (key_of(999), 0.5)]
    values = [value for _, value in rows]
    text = "key,mass,mass: score\n" + "".join(f"{key},{p},{p}\n" for key, p in rows)
    (tmp_path / "p.csv").write_text(text)
    if ending == "parquet":
        made = {"key": [key for key, _ in rows], **dict.fromkeys(("mass", "mass: score"), values)}
        pq.write_table(pa.table(made), given_)
    command = ("export", tmp_path / "data", "--table", tmp_path / "t.parquet", "--predictions")
    facts = json.loads(run(*command, given_, "--json"))
    assert (facts["without_prediction"], facts["predictions_of_no_study"]) == (4, 1)
    found = {row["key"]: row for row in pq.read_table(tmp_path / "t.parquet").to_pylist()}
    assert found[key_of(1)]["predicted mass"] == found[key_of(1)]["mass: score"] == 0.75
    assert found[key_of(1)]["mass"] == 1
    assert found[key_of(4)]["predicted mass"] == 0.25
    assert found[key_of(0)]["predicted mass"] is None
    for wrong, message in (
        ("uid,p\n1,2\n", "no column key"),
        (f"key,p\n{key_of(1)},1\n{key_of(1)},2\n", "more than once"),
        ("key,p\nx,1\n", "none of its 1 keys"),
        ("", "--predictions"),
    ):
        (tmp_path / "wrong.csv").write_text(wrong)
        with pytest.raises(UserError, match=message):
            run(*command, tmp_path / "wrong.csv", "--force")


def test_wrong_arguments(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    out = ("-o", tmp_path / "out")
    (tmp_path / "file").write_text("")
    for arguments, message in (
        ((), "-o FOLDER"),
        (out, "--all"),
        ((key_of(1), "--all", *out), "--all"),
        ((key_of(1), "--split", "train", *out), "is in valid"),
        ((key_of(77), *out), "has no study"),
        ((key_of(1), "-o", tmp_path / "file"), "it is a file"),
        ((key_of(1), *out, "--predictions", tmp_path / "p.csv"), "--table"),
        (("--table", tmp_path / "t.xlsx"), "ending"),
        (("--table", tmp_path / "nowhere" / "t.csv"), "no folder"),
    ):
        with pytest.raises(UserError, match=message):
            run("export", tmp_path / "data", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_flat_affine_and_a_broken_member_are_told(tmp_path: Path) -> None:
    flat = tuple((0.0, 0.0, 0.0, 1.0) for _ in range(4))
    data = dataset_of(tmp_path / "flat", with_landmark(flat))
    with pytest.raises(UserError, match="flat"):
        run("export", data, key_of(1), "-o", tmp_path / "out")
    make_dataset(tmp_path / "data")
    tar = bytearray((tmp_path / "data" / "00000.tar").read_bytes())
    tar[Dataset.open(tmp_path / "data").find(key_of(1)).scans[1].offset] ^= 1
    (tmp_path / "data" / "00000.tar").write_bytes(bytes(tar))
    text = run("export", tmp_path / "data", "--all", "-o", tmp_path / "out", code=3)
    assert f"{key_of(1)}.s01.npy" in text
    assert (tmp_path / "out" / key_of(5) / "s01.nii.gz").exists()
    assert not (tmp_path / "out" / key_of(1) / "s01.nii.gz").exists()


@pytest.mark.slow
@pytest.mark.real
def test_an_export_lies_on_its_source(real_data: Path, tmp_path: Path) -> None:
    """The same series by `ingest nifti` and by ingestion and export: the same place in the world,
    and the same anatomy there."""
    source = real_data / "dicom" / "mr_brain_ge_pioneer"
    command(["ingest", "nifti", str(source), str(tmp_path / "native")])
    data = tmp_path / "data"
    sets = [f"ingest.source={source}", f"dataset={data}", f"run={tmp_path / 'run'}"]
    command(["run", "real", "--stage", "ingest", *(x for s in sets for x in ("--set", s))])
    run("export", data, "--all", "-o", tmp_path / "out", "--units")
    natives = [
        sitk.ReadImage(str(file), sitk.sitkFloat32) for file in (tmp_path / "native").glob("*.nii")
    ]
    compared = 0
    for file in (tmp_path / "out").glob("*/s*.nii.gz"):
        meta = json.loads(file.with_name(file.name.replace(".nii.gz", ".json")).read_text())
        shape, corner = meta["source_shape"], lps_of(meta["source_affine"], (0, 0, 0))
        native = next(
            image
            for image in natives
            if list(image.GetSize()[::-1]) == shape
            and np.allclose(image.GetOrigin(), corner, atol=0.01)
        )
        stored = sitk.ReadImage(str(file), sitk.sitkFloat32)
        low, high = meta["window_limits"]
        there = sitk.Clamp(sitk.Resample(native, stored, sitk.Transform(3, sitk.sitkIdentity)))
        expected = np.clip(sitk.GetArrayFromImage(there), low, high)
        got = sitk.GetArrayFromImage(stored)
        inner = (slice(4, -4), slice(20, -20), slice(20, -20))
        agree = [
            np.corrcoef(got[inner].ravel(), np.roll(expected, shift, (0, 1, 2))[inner].ravel())[
                0, 1
            ]
            for shift in [(0, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2)]
        ]
        assert agree[0] > 0.97
        assert agree[0] == max(agree)
        compared += 1
    assert compared


def command(arguments: list[str]) -> None:
    result = CliRunner().invoke(dicom2clip.app, arguments)
    assert result.exit_code in (0, 3), (result.output, result.exception)
