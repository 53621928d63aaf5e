"""Crawling trees: loose files, archives, volumes; odd names and faults."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import socket
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from crawl_runs import PACKERS, Run, everything, facts, no_room, pack_tar, pack_zip, tree
from dicom_files import make_series, save
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.header import read_header
from study.errors import UserError
from study.records import Reason

contents = st.one_of(
    st.integers(1, 3).map(lambda n: ("dicom", n)),
    st.binary(max_size=300).map(lambda b: ("bytes", b)),
    st.floats(0, 1).map(lambda part: ("cut", part)),
    st.just(("nifti", None)),
)


@settings(max_examples=20)
@given(
    files=st.dictionaries(
        st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}\.[a-z]{1,2})?", fullmatch=True),
        contents,
        min_size=1,
        max_size=6,
    ),
)
def test_archives_hold_what_the_tree_holds(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[str, Any]]
) -> None:
    """Loose, in a tar, in a tgz, in a zip: the same instances but for path and place."""
    home = tmp_path_factory.mktemp("tree")
    loose = Run(home)
    for number, (name, (kind, value)) in enumerate(files.items()):
        path = loose.source / name
        if path.parent.is_file() or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "bytes":
            path.write_bytes(value)
        elif kind == "nifti":
            image = nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), np.int16), np.eye(4))
            path.write_bytes(image.to_bytes())
        else:
            [dataset] = make_series(np.full((1, 8, 8), number), SOPInstanceUID=f"1.2.{number}")
            save([dataset], path.parent, path.name)
            if kind == "cut":
                data = path.read_bytes()
                path.write_bytes(data[: int(value * len(data))])
    expected = facts(loose.crawl(), f"{loose.source}/")
    for name, pack in PACKERS.items():
        inner = home / name.replace(" ", "").replace(".", "")
        inner.mkdir()
        packed = Run(inner)
        pack(loose.source, packed.source / name)
        rows = packed.crawl()
        assert all(r.stored_in for r in rows)
        study = {r.path: r for r in expected}
        found = facts(rows, f"{packed.source}/{name}!/")
        # Studies of volume files come from their paths, which begin with the archive's name.
        volumes = {r.path for r in expected if r.file_format == "nifti"}
        assert [r for r in found if r.path not in volumes] == [
            r for r in expected if r.path not in volumes
        ]
        assert [(r.path, r.frame, r.rows) for r in found] == [
            (r.path, r.frame, r.rows) for r in expected
        ]
        assert set(study) == {r.path for r in found}


@pytest.mark.parametrize("name", PACKERS)
def test_members_can_be_read_where_the_rows_say(tmp_path: Path, name: str) -> None:
    loose = tree(tmp_path / "loose")
    run = Run(tmp_path)
    PACKERS[name](loose, run.source / name)
    for row in run.crawl():
        data = Path(row.stored_in).read_bytes()[row.stored_at :][: row.file_bytes]
        assert data == (loose / row.path.partition("!/")[2]).read_bytes()


def test_a_dicom_file_named_zip_is_a_dicom_file(tmp_path: Path) -> None:
    run = Run(tmp_path)
    [file] = save(make_series(np.zeros((1, 8, 8))), run.source, "x.zip")
    [row] = run.crawl()
    assert (row.path, row.reason, row.stored_in) == (str(file), None, "")
    assert not (tmp_path / "run" / "unpacked").exists()


def test_what_is_broken_has_a_row_of_its_own(tmp_path: Path) -> None:
    run = Run(tmp_path, max_unpacked=1_000_000)
    loose = tree(tmp_path / "loose")
    pack_tar(loose, tmp_path / "whole.tgz", "w:gz")
    pack_zip(loose, tmp_path / "whole.zip")
    for name in ("tgz", "zip"):
        whole = (tmp_path / f"whole.{name}").read_bytes()
        (run.source / f"cut.{name}").write_bytes(whole[: len(whole) * 2 // 3])
    (run.source / "empty.zip").write_bytes(b"PK\5\6" + bytes(18))
    with zipfile.ZipFile(run.source / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("bomb", bytes(5_000_000))
    rows = run.crawl()
    own = {Path(r.path).name: r.reason for r in rows if "!/" not in r.path}
    assert own == {
        "cut.tgz": Reason.TRUNCATED,
        "cut.zip": Reason.TRUNCATED,
        "empty.zip": Reason.NOT_DICOM,
        "bomb.zip": Reason.TOO_LARGE,
    }
    for name in ("cut.tgz", "cut.zip"):
        members = [r.reason for r in rows if f"{name}!/" in r.path]
        assert None in members
        assert members[-1] is Reason.TRUNCATED
    assert run.crawl() == rows


def test_an_archive_within_an_archive_is_said_to_be_one(tmp_path: Path) -> None:
    run = Run(tmp_path)
    pack_zip(tree(tmp_path / "loose"), tmp_path / "inner.zip")
    pack_tar(tree(tmp_path / "loose"), tmp_path / "inner.tgz", "w:gz")
    with tarfile.open(run.source / "outer.tar", "w") as out:
        out.add(tmp_path / "inner.zip", "inner.zip")
        out.add(tmp_path / "inner.tgz", "inner.tgz")
    assert [(r.reason, r.detail) for r in run.crawl()] == [
        (Reason.NOT_DICOM, "an archive within an archive")
    ] * 2


def test_traversal_names_stay_in_the_table(tmp_path: Path) -> None:
    run = Run(tmp_path)
    [file] = save(make_series(np.zeros((1, 8, 8))), tmp_path / "loose")
    with zipfile.ZipFile(run.source / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.write(file, "x")
        for name in ("../../evil", "/evil"):
            out.writestr(zipfile.ZipInfo(name), file.read_bytes())
    before = set(tmp_path.rglob("*"))
    rows = run.crawl()
    assert [r.path for r in rows] == [
        f"{run.source}/a.zip!/{name}" for name in ("../../evil", "/evil", "x")
    ]
    assert all(r.sop_uid for r in rows)
    made = {p.relative_to(tmp_path) for p in set(tmp_path.rglob("*")) - before}
    assert {str(p.parent) for p in made if p.suffix in (".json", ".spool")} == {"run/unpacked"}
    assert len(made) == 5  # run, table, unpacked, spool, index
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "run" / "unpacked").stat().st_mode) == 0o700


def test_names_that_are_not_utf8_are_read(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    [file] = save(make_series(np.zeros((1, 8, 8))), tmp_path / "loose")
    odd = os.fsencode(run.source) + b"/M\xfcller"
    os.mkdir(odd)
    shutil.copy(file, odd + b"/caf\xe9")
    (run.source / "M\\udcfcller").mkdir()  # a name that looks like the other one spelled out
    shutil.copy(file, run.source / "M\\udcfcller" / "caf\\udce9")
    pack_zip(tmp_path / "loose", tmp_path / "a.zip")
    shutil.copy(tmp_path / "a.zip", odd + b"/\xff.zip")
    rows = run.crawl()
    assert [r.path.removeprefix(f"{run.source}/") for r in rows] == [
        "M\\udcfcller/\\udcff.zip!/0000.dcm",
        "M\\udcfcller/caf\\udce9",
        "M\\udcfcller/caf\\udce9 #2",
    ]
    assert all(r.sop_uid and r.reason is None for r in rows)
    reads.clear()
    assert run.crawl() == rows
    assert reads == []


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    """Opening a fifo without a writer would block for ever."""
    run = Run(tmp_path)
    tree(run.source)
    os.mkfifo(run.source / "fifo.nii")
    with socket.socket(socket.AF_UNIX) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.source)  # the name of a socket has a hundred characters at most
        server.bind("socket")
    (run.source / "null").symlink_to(os.devnull)
    (run.source / "loop").symlink_to("loop")
    (run.source / "elsewhere").symlink_to(run.source / "a")
    found = {Path(row.path).name: (row.reason, row.detail) for row in run.crawl()}
    assert found["fifo.nii"] == (Reason.NOT_DICOM, "a fifo")
    assert found["socket"] == (Reason.NOT_DICOM, "a socket")
    assert found["null"] == (Reason.NOT_DICOM, "a character device")
    assert found["loop"] == (Reason.UNREADABLE, "OSError")
    assert found["elsewhere"] == (
        Reason.NOT_DICOM,
        "a link to a folder; links are not followed",
    )
    assert len(found) == 5 + 7


def test_a_member_and_a_file_of_one_path(tmp_path: Path) -> None:
    run = Run(tmp_path)
    loose = tmp_path / "loose"
    save(make_series(np.zeros((1, 8, 8))), loose)
    save(make_series(np.zeros((1, 8, 8))), run.source / "a!")
    pack_zip(loose, run.source / "a")
    paths = [r.path.removeprefix(f"{run.source}/") for r in run.crawl()]
    assert paths == ["a!/0000.dcm", "a!/0000.dcm #2"]


def test_a_full_disk_is_the_users_to_solve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    pack_zip(tree(tmp_path / "loose"), run.source / "a.zip")
    with (
        no_room(monkeypatch),
        pytest.raises(UserError, match=r"run/unpacked: No space left on device; make room"),
    ):
        run.crawl()
    assert list((run.run / "unpacked").iterdir()) == []
    assert len(run.crawl()) == 7


def test_progress_counts_files_and_members(tmp_path: Path) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    rows = run.crawl()
    archives = len(PACKERS)
    assert run.progress[-1][0] == run.progress[-1][1] == len({r.path for r in rows}) + archives
    assert run.progress == sorted(run.progress)


def test_random_bytes_behind_magic_numbers_stop_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    rng = random.Random(0)
    starts = [b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08\0", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x5c\1\0\0"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        out.addfile(tarfile.TarInfo("x"))
    starts += [buffer.getvalue()[:512], gzip.compress(buffer.getvalue())[:-8]]
    for number in range(60):
        content = rng.choice(starts) + rng.randbytes(rng.choice([0, 10, 400, 3000]))
        (run.source / f"{number}.{rng.choice(['npz', 'zip', 'nii.gz', 'dcm'])}").write_bytes(
            content
        )
    rows = run.crawl()
    assert {r.path.partition("!/")[0] for r in rows} == {str(p) for p in run.source.iterdir()}
    assert all(r.reason is not None for r in rows)


def test_real_series_in_archives(tmp_path: Path, real_data: Path) -> None:
    """Scanner data in a tgz and a zip gives the rows of the loose files."""
    source = tmp_path / "loose"
    source.mkdir()
    for number in range(1, 9):
        name = f"{number:02d}.dcm"
        shutil.copy(
            real_data / "dicom" / "ct_head_ge_hispeed" / "data" / "In" / "GE" / name, source
        )
    loose = [r for p in source.rglob("*") if p.is_file() for r in read_header(str(p))]
    expected = facts(loose, f"{source}/")
    assert len(expected) == 8
    run = Run(tmp_path)
    pack_tar(source, run.source / "a.tgz", "w:gz")
    pack_zip(source, run.source / "b.zip")
    rows = run.crawl()
    for name in ("a.tgz", "b.zip"):
        prefix = f"{run.source}/{name}!/"
        assert facts([r for r in rows if r.path.startswith(prefix)], prefix) == expected
