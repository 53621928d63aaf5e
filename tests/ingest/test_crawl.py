"""Crawling trees: loose files, archives, volumes; what is read again and what is not."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from dicom_files import make_series, save
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import crawl as crawling
from ingest import table
from ingest.crawl import crawl
from ingest.header import read_header, read_ordinary
from ingest.place import Place
from study.errors import UserError
from study.records import Instance, Reason
from study.sections import VolumeFiles


def here(function: Callable[[Any], Any], items: list[Any]) -> Iterable[Any]:
    return map(function, items)


class Run:
    """A run folder: crawls, keeps the table, and counts what is read."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.source, self.run, self.options = home / "scans", home / "run", options
        self.progress: list[tuple[int, int]] = []
        self.source.mkdir(exist_ok=True)

    def crawl(self) -> list[Instance]:
        self.progress = []
        file = self.run / "instances.parquet"
        rows = crawl(
            [str(self.source)],
            file,
            here,
            lambda done, total: self.progress.append((done, total)),
            **self.options,
        )
        assert len({(r.path, r.frame) for r in rows}) == len(rows)
        assert (
            self.progress[-1][0]
            == self.progress[-1][1]
            == len({r.path for r in rows}) + (self.progress[-1][1] - len({r.path for r in rows}))
        )
        self.run.mkdir(exist_ok=True)
        table.write(file, rows)
        assert table.read(file) == rows
        return rows


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of all headers that are read, and of all archives that are unpacked."""
    seen: list[str] = []
    unpack = crawling.archive.unpack

    def read(place: Place) -> list[Instance] | None:
        seen.append(os.path.basename(place.path))
        return read_ordinary(place)

    def unpacking(archive: tuple[str, str], *rest: Any, **more: Any) -> Any:
        seen.append(f"unpack {os.path.basename(archive[0])}")
        return unpack(archive, *rest, **more)

    monkeypatch.setattr("ingest.crawl.read_ordinary", read)
    monkeypatch.setattr("ingest.archive.unpack", unpacking)
    return seen


def tree(folder: Path, count: int = 5) -> Path:
    noise = np.random.default_rng(0).integers(0, 1 << 15, (count, 16, 16))
    save(make_series(noise), folder / "a")
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "empty").touch()
    return folder


def pack_tar(folder: Path, file: Path, mode: str = "w") -> None:
    with tarfile.open(file, mode) as out:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*")):
            out.add(path, path.relative_to(folder), recursive=False)


def pack_zip(folder: Path, file: Path, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(file, "w", method) as out:
        for path in sorted(folder.rglob("*")):
            out.write(path, path.relative_to(folder))


PACKERS: dict[str, Callable[[Path, Path], None]] = {
    "a.tar": pack_tar,
    "a.tgz": lambda folder, file: pack_tar(folder, file, "w:gz"),
    "a.zip": pack_zip,
    "no extension": lambda folder, file: pack_zip(folder, file, zipfile.ZIP_STORED),
}


HERE: dict[str, Any] = {
    "stored_in": "",
    "stored_at": 0,
    "file_mtime_ns": 0,
    "pixel_digest": "",
    "identifying": (),
}
"""What depends on where a file is and what else is there: its place, a digest where there are
copies, and what one file of a series, the first in a task, is searched for in depth."""


def facts(rows: list[Instance], prefix: str) -> list[Instance]:
    """Rows without what differs between a file and a member."""
    return sorted(
        (replace(r, path=r.path.removeprefix(prefix), **HERE) for r in rows),
        key=lambda r: (r.path, r.frame),
    )


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


# -------------------------------------------------------------------------------- incremental


def everything(run: Run, tmp_path: Path) -> None:
    tree(run.source)
    loose = tree(tmp_path / "loose", 3)
    for name, pack in PACKERS.items():
        pack(loose, run.source / name)
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    nibabel.save(image, run.source / "a" / "t1.nii.gz")
    np.savez(run.source / "a" / "b.npz", ct=np.zeros((3, 4, 5)), mask=np.zeros((3, 4, 5)))


def test_nothing_is_read_twice(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    rows = run.crawl()
    assert reads.count("unpack a.tgz") == 1
    reads.clear()
    assert run.crawl() == rows
    assert reads == []


@pytest.mark.parametrize("name", PACKERS)
def test_a_changed_archive_is_read_again(tmp_path: Path, reads: list[str], name: str) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    before = run.crawl()
    folder = run.run / "unpacked"
    spools = set(folder.iterdir())
    reads.clear()
    PACKERS[name](tree(tmp_path / "more", 4), run.source / name)
    after = run.crawl()
    assert [r for r in reads if r.startswith("unpack")] == [f"unpack {name}"]
    assert len(after) == len(before) + 1
    assert len(set(folder.iterdir()) - spools) == len(spools - set(folder.iterdir())) > 0


def test_a_spool_that_is_gone_is_made_again(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    rows = facts(run.crawl(), "")
    for lost in ("one", "all"):
        reads.clear()
        if lost == "one":
            next(iter((run.run / "unpacked").glob("*.spool"))).unlink()
        else:
            shutil.rmtree(run.run / "unpacked")
        again = run.crawl()
        assert facts(again, "") == rows
        assert len([r for r in reads if r.startswith("unpack")]) == (1 if lost == "one" else 4)
        assert all(Path(row.stored_in or row.path).exists() for row in again)


def test_an_archive_is_unchanged_only_with_all_its_members(tmp_path: Path) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    rows = run.crawl()
    lost = next(r for r in rows if "!/" in r.path)
    table.write(run.run / "instances.parquet", [r for r in rows if r is not lost])
    assert facts(run.crawl(), "") == facts(rows, "")


def test_what_is_gone_is_forgotten_and_its_spool_removed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    run.crawl()
    (run.run / "unpacked" / ".x.spool.0123.tmp").write_bytes(b"left by a crash")
    for name in PACKERS:
        (run.source / name).unlink()
    assert not any("!/" in r.path for r in run.crawl())
    assert list((run.run / "unpacked").iterdir()) == []


def test_a_higher_limit_lets_an_archive_in(tmp_path: Path) -> None:
    run = Run(tmp_path, max_unpacked=1000)
    pack_zip(tree(tmp_path / "loose"), run.source / "a.zip")
    assert [r.reason for r in run.crawl()] == [Reason.TOO_LARGE]
    run.options["max_unpacked"] = 10**6
    assert len(run.crawl()) == 7


def test_other_volume_settings_read_volumes_again(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    run.crawl()
    reads.clear()
    run.options["volume_files"] = VolumeFiles(modality="CT")
    rows = run.crawl()
    assert sorted(reads) == ["b.npz", "t1.nii.gz"]
    assert {r.modality for r in rows if r.file_format != "dicom"} == {"CT"}


def test_an_input_error_is_tried_again_and_damage_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    save(make_series(np.zeros((2, 8, 8))), run.source)
    details = {"0000.dcm": "PermissionError", "0001.dcm": "ValueError: of pydicom"}

    def failing(place: Place) -> list[Instance]:
        [row] = read_header(place)
        detail = details[os.path.basename(place.path)]
        return [replace(row, reason=Reason.UNREADABLE, detail=detail)]

    with monkeypatch.context() as patch:
        patch.setattr("ingest.crawl.read_ordinary", failing)
        assert [r.reason for r in run.crawl()] == [Reason.UNREADABLE] * 2
    assert [r.reason for r in run.crawl()] == [None, Reason.UNREADABLE]


# -------------------------------------------------------------------------------- names and faults


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
    really = os.fdopen

    def full(descriptor: int, mode: str) -> object:
        os.close(descriptor)
        return really(os.open("/dev/full", os.O_RDWR), mode)

    with monkeypatch.context() as patch:
        patch.setattr("ingest.spool.os.fdopen", full)
        with pytest.raises(UserError, match=r"run/unpacked: No space left on device; make room"):
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
