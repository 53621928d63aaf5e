"""DICOM files that are compressed one by one: rows, pixels, damage, bombs, what is read again."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import zstandard
from crawl_runs import HERE, Run, facts, no_room
from dicom_files import make_series, save
from hypothesis import given, settings
from hypothesis import strategies as st
from made_archives import noise, tar_bytes, zip_bytes
from test_native import command

from ingest import ledger, single
from ingest.header import read_header
from ingest.ledger_search import find
from ingest.pixels import digests
from ingest.place import Place, place_of
from study.errors import UserError
from study.records import Instance, Reason, Rejection, Status

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
SUFFIX = {"gzip": ".dcm.gz", "bzip2": ".bz2", "xz": "", "zstd": ".dcm"}
"""Names that say it, half of it, nothing, and the contrary."""


def dicom(number: int = 0, side: int = 32) -> bytes:
    voxels = np.random.default_rng(number).integers(0, 1 << 12, (1, side, side))
    buffer = io.BytesIO()
    place = {"position": (0.0, 0.0, 2.0 * number), "InstanceNumber": number + 1}
    [made] = make_series(voxels, SOPInstanceUID=f"1.2.3.4.5.{number}", **place)
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def spools(run: Run) -> list[Path]:
    folder = run.run / "unpacked"
    return sorted(folder.iterdir()) if folder.exists() else []


def same(row: Instance) -> Instance:
    """A row without what its place makes of it."""
    return replace(row, path="", **HERE)


@pytest.mark.parametrize("kind", PACK)
def test_rows_and_pixels_are_those_of_the_plain_file(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path)
    plain = tmp_path / "plain.dcm"
    plain.write_bytes(dicom())
    file = run.source / f"x{SUFFIX[kind]}"
    file.write_bytes(PACK[kind](dicom()) + (b"\0" * 40 if kind == "gzip" else b""))
    [row] = run.crawl()
    [expected] = read_header(str(plain))
    assert same(replace(row, file_bytes=0)) == same(replace(expected, file_bytes=0))
    plain.write_bytes(Path(row.stored_in).read_bytes())
    assert len(plain.read_bytes()) == row.file_bytes
    assert row.reason is None
    assert (row.path, row.stored_at, row.frame) == (str(file), 0, 0)
    assert digests(place_of(row)) == digests(Place(str(plain)))
    [spool] = spools(run)
    assert str(spool) == row.stored_in
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.parent.stat().st_mode) == 0o700


def test_a_file_without_preamble(tmp_path: Path) -> None:
    run = Run(tmp_path)
    [made] = make_series(np.zeros((1, 8, 8)))
    buffer = io.BytesIO()
    del made.file_meta
    made.save_as(buffer, implicit_vr=True, little_endian=True)
    content = buffer.getvalue()
    assert content.startswith(b"\x08\0")
    (run.source / "old.gz").write_bytes(gzip.compress(content))
    [row] = run.crawl()
    assert (row.reason, row.rows) == (None, 8)
    assert row.stored_in


def test_frames_have_rows_as_in_the_plain_file(tmp_path: Path, real_data: Path) -> None:
    """Enhanced MR of a scanner, as dcm_qa_philips_enh has it, and eight CT slices."""
    sets = real_data / "dicom"
    enhanced = sets / "mr_brain_siemens_xa30_enhanced" / "data" / "In" / "6_anat-T1w_acq-tfl"
    slices = sorted((sets / "ct_head_ge_hispeed" / "data" / "In" / "GE").glob("0[1-8].dcm"))
    files = [next(p for p in sorted(enhanced.rglob("*")) if p.is_file()), *slices]
    run = Run(tmp_path)
    for file in files:
        (run.source / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
    rows = run.crawl()
    expected = [
        replace(r, path=f"{Path(r.path).name}.gz") for f in files for r in read_header(f"{f}")
    ]
    assert len(rows) > 100
    assert facts(rows, f"{run.source}/") == facts(expected, "")
    assert len(spools(run)) == len(files)
    last = max(rows, key=lambda row: row.frame)
    assert digests(place_of(last)) == digests(Place(str(files[0])))


# -------------------------------------------------------------------------------- broken


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_cut_file_is_truncated(tmp_path: Path, kind: str, share: float) -> None:
    run = Run(tmp_path)
    content = PACK[kind](dicom())
    (run.source / "x.gz").write_bytes(content[: int(share * len(content))])
    [row] = run.crawl()
    assert (row.reason, row.stored_in) == (Reason.TRUNCATED, "")
    assert row.detail == f"the {kind} stream is cut off"
    assert spools(run) == []
    assert run.crawl() == [row]


@pytest.mark.parametrize("kind", PACK)
def test_a_wrong_checksum_is_no_image(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path)
    content = bytearray(PACK[kind](dicom()))
    content[{"gzip": -7, "bzip2": -4, "xz": len(content) // 2, "zstd": -2}[kind]] ^= 0x55
    (run.source / "x.gz").write_bytes(content)
    [row] = run.crawl()
    assert row.reason is Reason.UNREADABLE
    assert row.detail.startswith(f"{kind}: ")
    assert spools(run) == []


def test_a_truncated_file_that_was_compressed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (run.source / "x.dcm.gz").write_bytes(gzip.compress(dicom()[:-100]))
    [row] = run.crawl()
    assert (row.reason, row.detail) == (Reason.TRUNCATED, "100 bytes of pixel data are missing")


@settings(max_examples=60)
@given(
    kind=st.sampled_from(sorted(PACK)),
    cut=st.floats(0.1, 1.0),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=3),
)
def test_damage_is_a_verdict_and_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory, kind: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    """Whatever is damaged; what is said to be whole is so, as the checksum tells."""
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(PACK[kind](dicom(side=8)))
    del content[int(cut * len(content)) :]
    for where, bits in flips:
        content[int(where * len(content))] ^= bits
    file = folder / "x"
    file.write_bytes(content)
    with file.open("rb") as stream:
        found_kind = single.packing_of(stream)
    if found_kind is None:
        return
    found = single.unpack(Place(str(file)), found_kind, str(folder / "out"), 10**9)
    made = list((folder / "out").iterdir())
    if isinstance(found, Rejection):
        assert found.reason in (Reason.TRUNCATED, Reason.UNREADABLE)
        assert made == []
    else:
        assert [str(path) for path in made] == [found.file]
        assert made[0].read_bytes() == dicom(side=8)


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_too_large_and_counted_while_writing(
    tmp_path: Path, kind: str, reads: list[str]
) -> None:
    run = Run(tmp_path, max_unpacked=1_000_000)
    (run.source / "bomb.dcm.gz").write_bytes(PACK[kind](dicom() + bytes(5_000_000)))
    [row] = run.crawl()
    assert row.reason is Reason.TOO_LARGE
    assert row.detail == "unpacks to more than 1000000 bytes"
    assert spools(run) == []
    reads.clear()
    assert run.crawl() == [row]
    assert reads == []  # not tried again ...
    run.options["max_unpacked"] = 10**8
    [row] = run.crawl()
    assert row.reason is None  # ... but with more room
    run.options["max_unpacked"] = 10**6
    [row] = run.crawl()
    assert row.reason is Reason.TOO_LARGE  # and a lower limit holds for what is there
    assert spools(run) == []


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"a,b\n1,2\n" * 99, "gzip of what is neither DICOM nor a tar"),
        (b"", "gzip of what is neither DICOM nor a tar"),
        (gzip.compress(dicom()), "gzip of an archive or compressed file"),
        (zip_bytes({"x.dcm": dicom()}), "gzip of an archive or compressed file"),
    ],
)
def test_anything_else_is_no_dicom(tmp_path: Path, content: bytes, detail: str) -> None:
    run = Run(tmp_path)
    (run.source / "x.dcm.gz").write_bytes(gzip.compress(content))
    [row] = run.crawl()
    assert (row.reason, row.detail, row.stored_in) == (Reason.NOT_DICOM, detail, "")
    assert spools(run) == []
    assert run.crawl() == [row]


def test_what_was_read_otherwise_still_is(tmp_path: Path) -> None:
    """A tar that is named as a single file, and a volume."""
    run = Run(tmp_path)
    (run.source / "x.dcm.gz").write_bytes(gzip.compress(tar_bytes({"a.dcm": dicom()})))
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    nibabel.save(image, run.source / "v.nii.gz")
    like_dicom = tar_bytes({"\x08": dicom(), "b.dcm": dicom(1)}, "w:gz")  # group 0008 it seems
    (run.source / "w.gz").write_bytes(like_dicom)
    rows = run.crawl()
    assert [(Path(r.path).name, r.file_format, r.reason) for r in rows] == [
        ("v.nii.gz", "nifti", None),
        ("\x08", "dicom", None),
        ("b.dcm", "dicom", None),
        ("a.dcm", "dicom", None),
    ]


@pytest.mark.parametrize("suffix", ["bz2", "xz", "zst"])
def test_volumes_compress_better_than_gzip_can(tmp_path: Path, suffix: str) -> None:
    pack = PACK[{"bz2": "bzip2", "zst": "zstd"}.get(suffix, suffix)]
    image = nibabel.Nifti1Image(np.zeros((200, 200, 100), np.int16), np.eye(4))
    run = Run(tmp_path)
    (run.source / f"mask.nii.{suffix}").write_bytes(pack(image.to_bytes()))
    [row] = run.crawl()
    assert (row.file_format, row.mosaic_tiles, row.reason) == ("nifti", 100, None)


@pytest.mark.parametrize(
    ("start", "what"),
    [(b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"Rar!\x1a\x07\1\0", "a rar archive")],
)
def test_archives_that_are_not_read_are_named(tmp_path: Path, start: bytes, what: str) -> None:
    run = Run(tmp_path)
    (run.source / "scans.bin").write_bytes(start + noise(999))
    [row] = run.crawl()
    assert (row.reason, row.detail) == (Reason.UNREADABLE, f"{what}, which is not read")


# -------------------------------------------------------------------------------- again


def packed_series(folder: Path, count: int = 4) -> None:
    for number in range(count):
        (folder / f"{number}.dcm.gz").write_bytes(gzip.compress(dicom(number)))


def test_nothing_is_read_or_unpacked_twice(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    packed_series(run.source)
    rows = run.crawl()
    times = [path.stat().st_mtime_ns for path in spools(run)]
    reads.clear()
    assert run.crawl() == rows
    assert reads == []
    assert [path.stat().st_mtime_ns for path in spools(run)] == times
    (run.run / "instances.parquet").unlink()  # killed before the table was written
    assert run.crawl() == rows
    assert len(spools(run)) == len(times)


def test_what_changed_is_read_again_and_what_is_gone_is_forgotten(
    tmp_path: Path, reads: list[str]
) -> None:
    run = Run(tmp_path)
    packed_series(run.source)
    before = run.crawl()
    reads.clear()
    (run.source / "2.dcm.gz").write_bytes(gzip.compress(dicom(9)))
    after = run.crawl()
    assert set(reads) == {"2.dcm.gz"}
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, True, False, True]
    assert {str(path) for path in spools(run)} == {row.stored_in for row in after}
    reads.clear()
    Path(after[1].stored_in).unlink()
    os.truncate(after[3].stored_in, 100)
    assert facts(run.crawl(), "") == facts(after, "")
    assert set(reads) == {"1.dcm.gz", "3.dcm.gz"}
    for name in range(4):
        (run.source / f"{name}.dcm.gz").unlink()
    (run.source / "0.dcm").write_bytes(dicom())
    assert [row.stored_in for row in run.crawl()] == [""]
    assert spools(run) == []


def test_rows_of_a_run_folder_that_was_moved_are_read_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    packed_series(run.source)
    rows = run.crawl()
    run.run = run.run.rename(tmp_path / "moved")
    again = run.crawl()
    assert facts(again, "") == facts(rows, "")
    assert {Path(row.stored_in).parent for row in again} == {run.run / "unpacked"}


@pytest.mark.parametrize("form", ["a.tar", "a.zip", "a.tgz"])
def test_compressed_members_of_archives(tmp_path: Path, form: str, reads: list[str]) -> None:
    """A repository of .dcm.gz files that was downloaded as one archive."""
    packed = {f"In/{n}.dcm.gz": gzip.compress(dicom(n)).ljust(3000, b"\0") for n in range(3)}
    packed |= {"cut.dcm.gz": gzip.compress(dicom())[:300], "plain.dcm": dicom(5)}
    pack = {"a.tar": tar_bytes, "a.zip": zip_bytes, "a.tgz": lambda f: tar_bytes(f, "w:gz")}[form]
    run = Run(tmp_path)
    (run.source / form).write_bytes(pack(packed))
    rows = run.crawl()
    found = {r.path.removeprefix(f"{run.source}/{form}!/"): r.reason for r in rows}
    assert found == dict.fromkeys(packed) | {"cut.dcm.gz": Reason.TRUNCATED}
    assert [r.instance_number for r in rows if r.path.endswith(".dcm.gz") and r.reason is None] == [
        *(1, 2, 3)
    ]
    assert len({(r.stored_in, r.stored_at) for r in rows}) == len(rows)  # some of equal length
    reads.clear()
    assert run.crawl() == rows
    assert reads == []
    Path(rows[0].stored_in).unlink()
    assert run.crawl() == rows
    shutil.rmtree(run.run / "unpacked")
    assert run.crawl() == rows


def test_a_full_disk_is_the_users_to_solve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    packed_series(run.source)
    with (
        no_room(monkeypatch),
        pytest.raises(UserError, match=r"run/unpacked: No space left on device; make room"),
    ):
        run.crawl()
    assert spools(run) == []
    assert [row.reason for row in run.crawl()] == [None] * 4


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    run = Run(tmp_path)
    Path(os.fsdecode(os.fsencode(run.source) + b"/caf\xe9.dcm.gz")).write_bytes(
        gzip.compress(dicom())
    )
    [row] = run.crawl()
    assert (row.path, row.reason) == (f"{run.source}/caf\\udce9.dcm.gz", None)
    assert run.crawl() == [row]
    assert sorted(path.suffix for path in spools(run)) == [".link", ".spool"]


# -------------------------------------------------------------------------------- as a user


def test_nifti_of_compressed_files_copies_and_explain(tmp_path: Path) -> None:
    """The volume of the plain series; x.dcm beside x.dcm.gz is one slice and one duplicate."""
    plain, source, out = tmp_path / "plain", tmp_path / "in", tmp_path / "out"
    voxels = np.random.default_rng(0).integers(0, 900, (6, 8, 8), dtype=np.int16)
    files = save(make_series(voxels), plain)
    source.mkdir()
    for file in files:
        (source / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    shutil.copy(files[2], source)
    assert command("nifti", str(plain), str(tmp_path / "expected"))[0] == 0
    code, text = command("nifti", str(source), str(out), "--json")
    assert code == 0
    assert json.loads(text)["volumes"] == 1
    name = "1.2.3.4.5.nii"
    assert (out / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
    assert not (out / ".unpacked").exists()
    rows = ledger.read(out / "ledger.parquet")
    assert len(rows) == 7
    [copy] = [row for row in rows if row.status is not Status.USED]
    assert (copy.status, copy.reason) == (Status.DUPLICATE, Reason.DUPLICATE_INSTANCE)
    assert copy.path == str(source / "0002.dcm.gz")
    assert copy.detail == f"of {source / '0002.dcm'}"
    found = find(out, str(source / "0004.dcm.gz"))
    assert (found.what, [row.status for row in found.rows]) == ("file", [Status.USED])
