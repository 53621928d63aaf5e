"""`shards import-hlip`: tensors and JSON files as HLIP has them."""

import csv
import io
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_shards_cli import run

from shards import hlip, import_hlip
from shards.hlip import Reading, scan_of, voxels_of
from shards.hlip_tables import HlipSource, read_studies
from shards.reader import Dataset
from shards.view import view_of
from study import pseudonyms
from study.errors import UserError
from study.records import Reason, Rejection, Scan

SHAPE = (4, 6, 5)
SHAPE_OPTION = ("--shape", *SHAPE)


def pixels(number: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    random = np.random.default_rng(number)
    return torch.from_numpy(random.integers(0, 256, shape, dtype=np.uint8))


def packed(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def save(root: Path, uid: str, scan: str, value: Any, file: str = "img.pt") -> None:
    folder = root / uid / scan
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(packed(value))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Twelve studies of two scans below `root`, and their JSON files."""
    scans = {f"uid{n}": ["T1_AX", "T2_SAG"] for n in range(12)}
    reports = {uid: [f"Finding of {uid}.", "No mass."] for uid in scans}
    for n, (uid, names) in enumerate(scans.items()):
        for m, name in enumerate(names):
            save(tmp_path / "root", uid, name, pixels(10 * n + m))
    write(tmp_path, scans, reports)
    return tmp_path


def write(folder: Path, scans: Any, reports: Any) -> None:
    (folder / "scans.json").write_text(json.dumps(scans))
    (folder / "reports.json").write_text(json.dumps(reports))


def imported(folder: Path, *more: object, data: str = "data", code: int = 0) -> dict[str, Any]:
    text = run(
        "import-hlip", folder / "root", folder / data, "--scans", folder / "scans.json",
        "--reports", folder / "reports.json", "--scrubbed", "--run", folder / f"run of {data}",
        "--key-file", folder / "project.key", *SHAPE_OPTION, "--json", *more, code=code,
    )  # fmt: skip
    facts: dict[str, Any] = json.loads(text)
    return facts


def ledger(folder: Path, data: str = "data") -> list[dict[str, str]]:
    found = []
    for file in sorted((folder / f"run of {data}" / "hlip").glob("*.csv")):
        with file.open(newline="") as stream:
            found += list(csv.DictReader(stream))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of all files; of commit records all but the seconds and what hashes
    them."""
    found = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "croissant.json"}
    for name in found:
        if name.endswith("_stats.json"):
            record = {**json.loads(found[name]), "seconds": 0, "sha256": ""}
            found[name] = json.dumps(record).encode()
    return found


def test_a_dataset_of_all(made: Path) -> None:
    facts = imported(made, "--shard-bytes", "0.001 MB")
    assert facts["studies"], facts["scans"] == (12, 24)
    assert facts["shards"] == 3  # of 1000 bytes, 240 a study: five studies each
    assert "no problems" in run("verify", made / "data")
    dataset = Dataset.open(made / "data")
    key = bytes.fromhex((made / "project.key").read_text())
    study = dataset.study(pseudonyms.pseudonym(key, "study", "uid3"))
    assert study.report.sentences == {"hlip": ("Finding of uid3.", "No mass.")}
    assert study.split == "train"
    assert dataset.info.key_fingerprint == pseudonyms.key_fingerprint(key)
    for m, scan in enumerate(study.scans):
        np.testing.assert_array_equal(scan.array, pixels(30 + m).numpy())
    assert [scan.plane for scan in study.scans] == ["axial", "sagittal"]
    assert [scan.series_index for scan in study.scans] == [0, 1]
    assert {scan.flags for scan in study.scans} == {("GEOMETRY_ASSUMED", "LIMITS_ASSUMED")}
    assert {(scan.modality, scan.window) for scan in study.scans} == {("MR", "percentile")}


def test_nothing_that_identifies_leaves(made: Path) -> None:
    imported(made)
    for file in (made / "data").iterdir():
        for name in (b"uid3\x00", b"T2_SAG", str(made).encode()):
            assert name not in file.read_bytes()
    for private in (made / "project.key", *(made / "run of data" / "hlip").iterdir()):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((made / "run of data").stat().st_mode) == 0o700


def test_a_run_that_was_killed_goes_on(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ("--shard-bytes", "0.0005 MB")
    whole = imported(made, *small)
    reading, calls = hlip.scan_of, [0]

    def dies(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > 13:
            raise OSError(5, "Input/output error")
        return reading(*arguments)

    monkeypatch.setattr(hlip, "scan_of", dies)
    with pytest.raises(AssertionError, match="Input/output"):
        imported(made, *small, data="again")
    assert not (made / "again" / "dataset.json").exists()
    before = {p.name: p.stat().st_mtime_ns for p in (made / "again").glob("*.tar")}
    assert 0 < len(before) < whole["shards"]
    monkeypatch.undo()
    assert imported(made, *small, data="again") == whole
    assert contents(made / "again") == contents(made / "data")
    for name, time_ns in before.items():
        assert (made / "again" / name).stat().st_mtime_ns == time_ns  # not written again
    monkeypatch.setattr(hlip, "scan_of", dies)  # nothing is read any more
    assert imported(made, *small, data="again") == whole


def test_new_studies_become_new_shards(made: Path) -> None:
    scans, reports = (json.loads((made / f"{n}.json").read_text()) for n in ("scans", "reports"))
    write(made, {uid: scans[uid] for uid in list(scans)[:7]}, reports)
    (made / "data").mkdir()
    (made / "data" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="knows nothing"):
        imported(made)
    (made / "data" / "mine.txt").unlink()
    write(
        made, {uid: scans[uid] for uid in list(scans)[:7]}, {u: reports[u] for u in list(scans)[:7]}
    )
    assert imported(made)["shards"] == 1
    write(made, scans, reports)
    facts = imported(made)
    assert (facts["studies"], facts["shards"]) == (12, 2)
    assert "no problems" in run("verify", made / "data")
    write(made, scans, {**reports, "uid1": ["Something else."]})
    with pytest.raises(UserError, match="have changed"):
        imported(made)
    write(made, {"uid1": ["T1_AX"]}, {"uid1": ["Finding."]})
    with pytest.raises(UserError, match="have changed"):
        imported(made)


def test_other_settings_or_another_run_folder_are_refused(made: Path) -> None:
    imported(made)
    with pytest.raises(UserError, match="another import hlip"):
        imported(made, "--compression", "zstd")
    with pytest.raises(UserError, match="another key"):
        imported(made, "--key-file", made / "other.key")
    with pytest.raises(UserError, match="knows nothing"):
        imported(made, "--run", made / "elsewhere")


def test_bad_files_cost_a_scan_and_are_counted(made: Path) -> None:
    root = made / "root"
    (root / "uid0" / "T1_AX" / "img.pt").unlink()
    (root / "uid1" / "T1_AX" / "img.pt").write_bytes(b"not a tensor")
    save(root, "uid2", "T1_AX", pixels(1, (9, 9)))
    save(root, "uid3", "T1_AX", {"state": pixels(1)})
    save(root, "uid4", "T1_AX", torch.zeros(SHAPE, dtype=torch.uint8))
    save(root, "uid5", "T1_AX", torch.full(SHAPE, float("nan")))
    save(root, "uid6", "T1_AX", pixels(1).to(torch.int16))
    data = (root / "uid7" / "T1_AX" / "img.pt").read_bytes()
    (root / "uid7" / "T1_AX" / "img.pt").write_bytes(data[: len(data) // 2])
    (root / "uid8" / "T1_AX" / "img.pt").unlink()
    (root / "uid8" / "T1_AX" / "img.pt").mkdir()
    for scan in ("T1_AX", "T2_SAG"):
        (root / "uid9" / scan / "img.pt").unlink()
    facts = imported(made, code=3)
    assert (facts["studies"], facts["scans"]) == (11, 13)
    assert facts["rejected"] == {"NO_SCANS": 1}
    assert facts["scans_left_out"] == {
        "INTENSITY_CONSTANT": 1, "UNDECODABLE_PIXELS": 4, "UNREADABLE": 6
    }  # fmt: skip
    rows = ledger(made)
    assert sum(row["status"] == "used" for row in rows) == facts["scans"]
    assert [row["reason"] for row in rows if row["uid"] == "uid9" and not row["scan"]] == [
        "NO_SCANS"
    ]
    assert {row["uid"] for row in rows} == {f"uid{n}" for n in range(12)}
    assert "no problems" in run("verify", made / "data")
    assert imported(made, code=3) == facts


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    assert isinstance(voxels_of(packed(Evil()), SHAPE), Rejection)
    assert not (tmp_path / "owned").exists()


def test_studies_that_json_files_spoil(made: Path) -> None:
    scans, reports = (json.loads((made / f"{n}.json").read_text()) for n in ("scans", "reports"))
    scans |= {"uid0": [], "uid1": "T1_AX", "uid2": ["../../etc"], "uid3": ["x" * 300], "uid4": [7]}
    del scans["uid5"]
    reports |= {
        "uid6": [],
        "uid7": [1],
        "uid8": "One report. All of it.",
        "uid9": [" "],
        "uid10": "\ud800",
    }
    del reports["uid11"]
    write(made, scans, reports)
    facts = imported(made, code=3)
    assert facts["rejected"] == {"NO_SCANS": 2, "UNREADABLE": 5, "NO_REPORT": 3}
    dataset = Dataset.open(made / "data")
    texts = sorted(dataset.read_study(ref).report.text for ref in dataset.samples())
    assert texts == ["One report. All of it.", "\ud800"]
    sentences = {dataset.read_study(ref).report.sentences["hlip"] for ref in dataset.samples()}
    assert ("One report. All of it.",) in sentences
    assert "no problems" in run("verify", made / "data")


def test_without_reports_every_study_is_taken(made: Path) -> None:
    write(made, {"uid1": ["T1_AX"]}, {})
    command = ("import-hlip", made / "root", made / "data", "--scans", made / "scans.json")
    run(*command, "--run", made / "run", *SHAPE_OPTION)
    assert Dataset.open(made / "data").info.num_studies == 1
    assert (made / "run" / "project.key").exists()


def test_unscrubbed_reports_are_refused(made: Path) -> None:
    with pytest.raises(UserError, match="--scrubbed"):
        run("import-hlip", made / "root", made / "data", "--scans", made / "scans.json",
            "--reports", made / "reports.json", "--run", made / "run")  # fmt: skip
    assert not (made / "data").exists()


def test_splits_by_root_by_patient_and_uids(made: Path) -> None:
    (made / "patients.csv").write_text(
        "uid,patient\n" + "".join(f"uid{n},{n // 4}\n" for n in range(12))
    )
    options = ("--patients", made / "patients.csv")
    imported(made, *options, "--valid-fraction", 0.4, "--test-fraction", 0.4)
    dataset = Dataset.open(made / "data")
    assert dataset.info.num_patients == 3
    assert all(count % 4 == 0 for count in dataset.info.by_split.values())
    (made / "uids.csv").write_text("uid,n\nuid1,0\nuid1,0\nuid2,0\n")
    facts = imported(made, "--uids", made / "uids.csv", "--split", "valid", data="chosen")
    assert (facts["studies"], facts["not_in_uids"]) == (2, 10)
    assert Dataset.open(made / "chosen").info.by_split == {"valid": 2}
    (made / "more.json").write_text('{"other": ["T1_AX"]}')
    (made / "texts.json").write_text('{"other": ["Finding."]}')
    save(made / "more", "other", "T1_AX", pixels(7))
    run(
        "import-hlip", made / "root", made / "more", made / "both", "--run", made / "r",
        "--scrubbed", "--scans", made / "scans.json", "--scans", made / "more.json", *SHAPE_OPTION,
        "--reports", made / "reports.json", "--reports", made / "texts.json",
        "--split", "train", "--split", "test",
    )  # fmt: skip
    assert Dataset.open(made / "both").info.by_split == {"test": 1, "train": 12}
    sources = [HlipSource(made / "root", made / "scans.json", split=s) for s in ("train", "test")]
    with pytest.raises(UserError, match="'uid0' is in"):
        read_studies(sources, "hlip")


def test_ct_windows(made: Path) -> None:
    names = ["Head_BrainWindow", "Head_BoneWindow", "Thin"]
    write(made, {"ct": names}, {"ct": ["Bleed."]})
    for n, name in enumerate(names[:2]):
        save(made / "root", "ct", name, pixels(n))
    for n, window in enumerate(("brain", "blood", "bone")):
        save(made / "root", "ct", "Thin", pixels(5 + n), f"img_{window}.pt")
    imported(made, "--window", "bone=500/2000")
    dataset = Dataset.open(made / "data")
    scans = dataset.read_study(dataset.samples()[0]).scans
    assert [scan.window for scan in scans] == ["brain", "bone", "brain", "blood", "bone"]
    assert [scan.series_index for scan in scans] == [0, 0, 1, 1, 1]
    assert {scan.modality for scan in scans} == {"CT"}
    assert scans[0].window_limits == (0, 80)
    assert "LIMITS_ASSUMED" in scans[0].flags
    assert scans[1].window_limits == (-500, 1500)
    assert scans[1].flags == ("GEOMETRY_ASSUMED",)


HOW = Reading(SHAPE)


def scan(value: Any, how: Reading = HOW, name: str = "T1") -> Scan:
    made = scan_of(packed(value), name, "", 0, "", how)
    assert isinstance(made, Scan), made
    return made


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_are_scaled_and_rounded(dtype: torch.dtype) -> None:
    stored = pixels(1)
    array = scan((stored.to(torch.float64) / 255).to(dtype)).array
    assert array.dtype == np.uint8
    assert np.abs(array.astype(int) - stored.numpy()).max() <= (1 if dtype is torch.bfloat16 else 0)


def test_hounsfield_units_are_left_out() -> None:
    made = scan_of(packed(pixels(1).float() - 100), "CT", "", 0, "", HOW)
    assert isinstance(made, Rejection)
    assert made.reason == Reason.UNDECODABLE_PIXELS


def test_larger_tensors_are_cropped_and_keep_their_place() -> None:
    large = pixels(1, (4, 10, 7))
    how = replace(HOW, spacing_mm=(3.0, 1.0, 0.5))
    small = scan(large[None], how)
    np.testing.assert_array_equal(small.array, large.numpy()[:, 2:8, 1:6])
    assert small.source_shape == (4, 10, 7)
    place = np.array(small.affine) @ [1, 0, 0, 1]
    np.testing.assert_allclose(place, np.array(small.source_affine) @ [1, 2, 1, 1])
    centre = np.array(small.affine) @ [1.5, 2.5, 2, 1]
    np.testing.assert_allclose(centre, [0, 0, 0, 1], atol=1e-9)


@pytest.mark.parametrize("name", ["T1_AX", "T1-COR", "SAG_FLAIR"])
def test_planes_are_shown_the_right_way_round(name: str) -> None:
    made = scan(pixels(1), name=name)
    view = view_of(made.affine)
    assert view.plane == made.plane == hlip.plane_of(name)
    right_is_left = view.left if made.plane != "sagittal" else "R"
    assert right_is_left == "R"


@given(st.binary(max_size=200))
def test_no_bytes_crash(data: bytes) -> None:
    assert isinstance(voxels_of(data, SHAPE), Rejection)


def test_wrong_arguments(made: Path) -> None:
    for option, message in {
        "--split everything": "--split everything",
        "--modality US": "CT or MR",
        "--compression lzma": "none or zstd",
        "--shard-bytes lots": "--shard-bytes",
        "--window brain=40": "NAME=CENTRE/WIDTH",
        "--window belly=40/80": "brain",
        "--variant 1": "--variant",
        "--spacing-mm 0 1 1": "three lengths",
        "--shape 0 1 1": "three positive",
        "--valid-fraction 0.6 --test-fraction 0.6": "at most 1",
        "--split test --test-fraction 0.5": "not both",
        "--scans again.json": "one for each",
        f"--uids {made / 'scans.json'}": "no column uid",
        f"--patients {made / 'nothing.csv'}": "--patients",
    }.items():
        with pytest.raises(UserError, match=message):
            imported(made, *option.split())
    for text in ("[1]", "{", '{"a": [], "a": []}'):
        (made / "scans.json").write_text(text)
        with pytest.raises(UserError, match="--scans"):
            imported(made)
    assert not (made / "data").exists()


def test_a_patient_in_two_splits_is_refused(made: Path) -> None:
    studies: list[Any] = []
    for split in ("train", "test"):
        found, _ = read_studies(
            [HlipSource(made / "root", made / "scans.json", split=split)], "hlip",
            patients=dict.fromkeys([f"uid{n}" for n in range(12)], "same"),
        )  # fmt: skip
        studies += found[:1] if split == "train" else found[1:2]
    facts: Mapping[str, Any] = {"settings": import_hlip.ImportSettings(HOW)}
    with pytest.raises(UserError, match="one split"):
        import_hlip._in_order(studies, facts["settings"], b"k" * 32)
