"""`ingest nifti` and `ingest explain`, as a user meets them."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from dicom_files import CORONAL, make_series, save
from typer.testing import CliRunner

from dicom2clip import app
from ingest import ledger, native
from ingest.explain import MEANINGS
from study.errors import UserError
from study.records import Reason

VOXELS = np.random.default_rng(0).integers(0, 900, (7, 6, 5), dtype=np.int16)


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["ingest", *arguments])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def volumes(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "volumes.parquet").to_pylist()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A coronal MR, a CT of two phases, a tilted stack, a mask, junk."""
    folder = tmp_path / "in"
    save(
        make_series(
            VOXELS,
            step=(0.0, 2.5, 0.0),
            orientation=CORONAL,
            spacing=(1.5, 0.5),
            position=(10.0, -20.0, 30.0),
            SeriesInstanceUID="1.2.1",
            SeriesNumber=1,
        ),
        folder / "mr",
    )
    for phase in (1, 2):
        save(
            make_series(
                VOXELS + phase,
                modality="CT",
                SeriesInstanceUID="1.2.2",
                AcquisitionNumber=phase,
                RescaleSlope=1,
                RescaleIntercept=-1024,
                PixelPaddingValue=0,
            ),
            folder / f"ct{phase}",
        )
    save(make_series(VOXELS, step=(0.0, 1.0, 4.0), SeriesInstanceUID="1.2.3"), folder / "tilted")
    save(make_series((VOXELS > 400).astype(np.int16), SeriesInstanceUID="1.2.4"), folder / "mask")
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_one_file_a_scan_with_its_place_and_values(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = command("nifti", str(source), str(out), "--json")
    assert code == 0
    facts = json.loads(text)
    assert facts["volumes"] == 4
    rows = volumes(out)
    assert sorted(r["nifti"] for r in rows) == [
        "1.2.1.nii",
        "1.2.2_000.nii",
        "1.2.2_001.nii",
        "1.2.3.nii",
    ]
    for row in rows:
        image = nibabel.load(out / row["nifti"])
        assert list(image.shape) == row["shape"]
        np.testing.assert_allclose(image.affine, row["affine"], atol=1e-4)
        assert row["n_slices"] == 7
    coronal = next(r for r in rows if r["series_uid"] == "1.2.1")
    assert coronal["spacing_mm"] == [0.5, 1.5, 2.5]
    assert coronal["shape"] == [5, 6, 7]
    stored = np.asarray(nibabel.load(out / "1.2.1.nii").dataobj)
    # column 4, row 3 of the slice at y = -20 + 2 * 2.5: x = 12, y = -15, z = 30 - 4.5 in LPS
    index = np.linalg.inv(np.asarray(coronal["affine"])) @ [-12.0, 15.0, 25.5, 1.0]
    assert stored[tuple(np.rint(index[:3]).astype(int))] == VOXELS[2, 3, 4]


def test_values_are_those_of_the_file(source: Path, tmp_path: Path) -> None:
    command("nifti", str(source), str(tmp_path / "out"))
    stored = np.asarray(nibabel.load(tmp_path / "out" / "1.2.2_000.nii").dataobj)
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(np.sort(stored.ravel()), np.sort(VOXELS.ravel() + 1 - 1024))


def test_tilt_is_in_the_affine(source: Path, tmp_path: Path) -> None:
    command("nifti", str(source), str(tmp_path / "out"))
    [row] = [r for r in volumes(tmp_path / "out") if r["series_uid"] == "1.2.3"]
    assert row["flags"] == ["GANTRY_TILT"]
    assert row["tilt_deg"] == pytest.approx(np.degrees(np.arctan(0.25)))
    assert [r[2] for r in row["affine"]] == pytest.approx([0, -1.0, 4.0, 0])
    assert row["spacing_mm"][2] == pytest.approx(4.0)


def test_the_ledger_adds_up_and_knows_the_mask(source: Path, tmp_path: Path) -> None:
    command("nifti", str(source), str(tmp_path / "out"))
    rows = ledger.read(tmp_path / "out" / "ledger.parquet")
    sums = ledger.sums(rows)
    assert sums.files == 36
    assert sums.by_reason == {"MASK": 7, "NOT_DICOM": 1}
    used = {(v["study_uid"], v["scan"]) for v in volumes(tmp_path / "out")}
    assert {(r.study_uid, r.scan) for r in rows if r.status == "used"} == used


def test_a_second_run_replaces_the_first(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command("nifti", str(source), str(out))
    before = {f.name: f.read_bytes() for f in out.glob("*.nii")}
    (out / "1.2.9.nii").write_bytes(b"old")
    (out / "x.nii.partial").write_bytes(b"half")
    command("nifti", str(source), str(out), "--workers", "1")
    assert {f.name: f.read_bytes() for f in out.glob("*.nii*")} == before
    command("nifti", str(source), str(out), "--gz")
    assert len(list(out.glob("*.nii.gz"))) == 4
    assert not list(out.glob("*.nii"))


def test_max_volumes_and_min_slices(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command("nifti", str(source), str(out), "--max-volumes", "1")
    assert sum(v["series_uid"] == "1.2.2" for v in volumes(out)) == 1
    command("nifti", str(source), str(out), "--min-slices", "8")
    assert volumes(out) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "does not exist"),
        ("empty", "holds no files"),
    ],
)
def test_wrong_sources(place: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        command("nifti", str(tmp_path / place), str(tmp_path / "out"))
    assert place == "empty" or not (tmp_path / "out").exists()


def test_wrong_outputs(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be apart"):
        command("nifti", str(source), str(source / "out"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.doc").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        command("nifti", str(source), str(other))
    with pytest.raises(UserError, match=r"rules\.min_slice"):
        command("nifti", str(source), str(tmp_path / "out"), "--set", "rules.min_slice=1")


def test_what_a_killed_conversion_left_is_no_strangers(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".unpacked").mkdir(parents=True)
    (out / "ledger.parquet.partial").write_bytes(b"half")
    command("nifti", str(source), str(out))
    assert {file.suffix for file in out.iterdir()} == {".nii", ".parquet"}


def test_a_full_disk_is_named_and_nothing_half_is_left(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(file: Path, mode: str) -> Full:
        file.touch()
        return Full()

    command("nifti", str(source), str(tmp_path / "out"))
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").glob("*.nii")}
    monkeypatch.setattr("ingest.native.open", opened, raising=False)
    result = CliRunner().invoke(app, ["ingest", "nifti", str(source), str(tmp_path / "out")])
    assert isinstance(result.exception, OSError)
    assert result.exception.filename in {str(tmp_path / "out" / name) for name in before}
    assert not list((tmp_path / "out").glob("*.partial"))
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").glob("*.nii")} == before


def test_a_file_that_vanishes_after_the_crawl_costs_its_volume(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_volumes = native.write_volumes

    def late(*arguments: Any) -> Any:
        (source / "mr" / "0003.dcm").unlink()
        return write_volumes(*arguments)

    monkeypatch.setattr("ingest.native.write_volumes", late)
    code, text = command("nifti", "--json", str(source), str(tmp_path / "out"))
    facts = json.loads(text)
    assert (code, facts["volumes"]) == (3, 3)
    assert facts["ledger"]["by_reason"] == {"MASK": 7, "NOT_DICOM": 1, "UNREADABLE": 7}


def test_a_truncated_file_costs_its_scan_and_exit_3(source: Path, tmp_path: Path) -> None:
    file = source / "mr" / "0003.dcm"
    file.write_bytes(file.read_bytes()[:-20])
    code, _ = command("nifti", str(source), str(tmp_path / "out"))
    assert code == 3
    reasons = ledger.sums(ledger.read(tmp_path / "out" / "ledger.parquet")).by_reason
    assert reasons == {"MASK": 7, "MISSING_SLICES": 6, "NOT_DICOM": 1, "TRUNCATED": 1}


# ------------------------------------------------------------------ explain


def test_whatever_goes_wrong_with_a_volume_costs_that_volume(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_volume = native.save

    def odd(file: Path, *rest: Any) -> None:
        if file.name.startswith("1.2.1"):
            raise ValueError("nobody thought of this")
        save_volume(file, *rest)

    monkeypatch.setattr("ingest.native.save", odd)
    code, text = command("nifti", "--json", str(source), str(tmp_path / "out"))
    assert code == 3
    facts = json.loads(text)
    assert facts["ledger"]["by_reason"]["UNDECODABLE_PIXELS"] == 7
    assert facts["volumes"] == len(volumes(tmp_path / "out")) > 0


def test_every_reason_has_words() -> None:
    assert set(MEANINGS) == set(Reason)


def test_explain_a_file_a_series_a_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command("nifti", str(source), str(out))
    where = ["--run", str(out)]
    _, text = command("explain", str(source / "notes.txt"), *where)
    assert "rejected: it is not DICOM" in text
    _, text = command("explain", str(source / "mr" / "0002.dcm"), *where)
    assert "used: slice 2 of scan" in text
    _, text = command("explain", "1.2.4", *where)
    assert "7 images rejected: its volume has only two values: a mask (MASK" in text
    _, text = command("explain", "1.2.2", "--json", *where)
    assert json.loads(text)["by_status"] == {"used": 14}
    _, text = command("explain", str(source), *where)
    assert "28 images used" in text
    with pytest.raises(UserError, match="no file, folder, series or study"):
        command("explain", "1.9.9", *where)
    with pytest.raises(UserError, match="no ledger"):
        command("explain", "1.9.9", "--run", str(tmp_path))


def test_explain_a_study_and_the_end_of_a_folders_path(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command("nifti", str(source), str(out))
    study = volumes(out)[0]["study_uid"]
    _, text = command("explain", study, "--json", "--run", str(out))
    assert json.loads(text)["what"] == "study"
    assert json.loads(text)["images"] == len(list(source.rglob("*.dcm")))
    _, text = command("explain", "in/mask/", "--json", "--run", str(out))
    assert (json.loads(text)["what"], json.loads(text)["images"]) == ("folder", 7)


def test_odd_names_are_found_and_stay_on_their_line(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = [b"two\nlines", b"\x1b[31mred", b"\xff latin"]
    for name in names:
        with open(os.fsencode(source) + b"/" + name, "wb") as file:
            file.write(b"neither")
    command("nifti", str(source), str(out))
    for name in names:
        target = os.fsdecode(os.fsencode(source) + b"/" + name)
        _, text = command("explain", target, "--run", str(out))
        assert "rejected: it is not DICOM" in text
        assert text.count("\n") == 1
        assert "\x1b" not in text


def test_a_folder_of_many_faults_is_told_in_few_lines(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number, file in enumerate(sorted((source / "mr").iterdir())):
        file.write_bytes(file.read_bytes()[: -2 - 2 * number])
    command("nifti", str(source), str(out))
    _, text = command("explain", str(source / "mr"), "--run", str(out))
    assert "7 images rejected: the file ends before its data do (TRUNCATED)" in text
    assert text.count("rejected") == 1
