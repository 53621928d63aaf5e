"""Crawls for tests: a run folder, trees packed in every way."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from dicom_files import make_series, save

from ingest import table
from ingest.crawl import crawl
from study.records import Instance


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
        done, total = self.progress[-1]
        assert done == total, (done, total, len({r.path for r in rows}))
        self.run.mkdir(exist_ok=True)
        table.write(file, rows)
        assert table.read(file) == rows
        return rows


@contextmanager
def no_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """/dev/full stands for what archives unpack to: every flush fails with ENOSPC."""
    really = os.fdopen

    def full(descriptor: int, mode: str) -> object:
        os.close(descriptor)
        return really(os.open("/dev/full", os.O_RDWR), mode)

    with monkeypatch.context() as patch:
        patch.setattr("ingest.spool.os.fdopen", full)
        yield


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


def everything(run: Run, tmp_path: Path) -> None:
    tree(run.source)
    loose = tree(tmp_path / "loose", 3)
    for name, pack in PACKERS.items():
        pack(loose, run.source / name)
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    nibabel.save(image, run.source / "a" / "t1.nii.gz")
    np.savez(run.source / "a" / "b.npz", ct=np.zeros((3, 4, 5)), mask=np.zeros((3, 4, 5)))
