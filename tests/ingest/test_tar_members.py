"""Tars as they come: cut, damaged, one after the other, with links."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from made_archives import bytes_of, opened, tar_bytes, verdicts

from study.records import Reason, Rejection


def test_a_tar_cut_between_members_is_truncated_too(tmp_path: Path) -> None:
    one = tar_bytes({"a": b"x" * 512})
    _, found = opened(tmp_path, one[:1024])
    assert found.broken == Rejection(Reason.TRUNCATED, "no end mark")
    assert [m.name for m in found.members] == ["a"]


def test_a_damaged_tar_header_is_not_the_end(tmp_path: Path) -> None:
    """tarfile takes it for the end, in silence."""
    content = bytearray(tar_bytes({"a": b"x" * 512, "b": b"y" * 512}))
    content[1024 + 150] ^= 1
    _, found = opened(tmp_path, bytes(content))
    assert found.broken == Rejection(Reason.UNREADABLE, "a damaged header at byte 1024")
    assert [m.name for m in found.members] == ["a"]


def test_a_tar_after_a_tar_is_read(tmp_path: Path) -> None:
    file, found = opened(tmp_path, tar_bytes({"a": b"1"}) + tar_bytes({"b": b"2"}))
    assert bytes_of(file, found) == {"a": b"1", "b": b"2"}


def test_links_and_devices_are_no_files_and_folders_are_nothing(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    kinds = {
        "symbolic": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
        "fifo": tarfile.FIFOTYPE,
        "folder": tarfile.DIRTYPE,
    }
    with tarfile.open(fileobj=buffer, mode="w:") as out:
        for name, kind in kinds.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 5000  # of the target
            out.addfile(entry)
        entry = tarfile.TarInfo("file")
        entry.size = 3
        out.addfile(entry, io.BytesIO(b"abc"))
    file, found = opened(tmp_path, buffer.getvalue())
    assert bytes_of(file, found) == {"file": b"abc"}
    assert set(verdicts(found)) == {"symbolic", "hard", "device", "fifo"}
    assert {v.reason for v in verdicts(found).values()} == {Reason.NOT_DICOM}
