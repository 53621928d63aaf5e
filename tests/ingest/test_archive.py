"""Archives, whole and broken: every member's bytes, or a reason."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from crawl_runs import no_room
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_archives import (
    FILES,
    FORMS,
    IN_PLACE,
    MANY,
    bytes_of,
    noise,
    opened,
    tar_bytes,
    verdicts,
    zip_bytes,
)

from ingest import archive, members
from ingest.spool import CannotUnpackError
from study.records import Reason, Rejection


@pytest.mark.parametrize("form", FORMS)
def test_members_are_byte_ranges(tmp_path: Path, form: str) -> None:
    file, found = opened(tmp_path, FORMS[form](FILES))
    assert bytes_of(file, found) == FILES
    assert found.broken is None
    assert any(m.in_spool for m in found.members) != (form in IN_PLACE)
    made = sorted(path.suffix for path in (tmp_path / "out").iterdir())
    assert made == ([".json"] if form in IN_PLACE else [".json", ".spool"])
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in (tmp_path / "out").iterdir())


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)


@settings(max_examples=60)
@example(files={"\x80\n": b""}, form="tar")  # a pax name that ends as its record does
@given(
    files=st.dictionaries(
        names.filter(lambda name: not name.endswith("/")),
        st.binary(max_size=1500),
        min_size=1,
        max_size=6,
    ),
    form=st.sampled_from(sorted(FORMS)),
)
def test_any_names_and_contents(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], form: str
) -> None:
    """Names come back as they are (tarfile strips slashes at their ends), data bit for bit."""
    file, found = opened(tmp_path_factory.mktemp("any"), FORMS[form](files))
    assert sorted(bytes_of(file, found).values()) == sorted(files.values())
    if form == "tar":
        assert set(bytes_of(file, found)) == set(files)


@settings(max_examples=100)
@given(
    form=st.sampled_from(sorted(FORMS)),
    cut=st.floats(0.0, 1.0),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=3),
)
def test_damage_costs_what_is_damaged_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    cut: float,
    flips: list[tuple[float, int]],
) -> None:
    """No exception; what is said to be whole is so, where there is a checksum to tell."""
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(FORMS[form](FILES))
    del content[int(cut * len(content)) + 1 :]
    for where, bits in flips:
        content[int(where * len(content))] ^= bits
    file, out = folder / "archive", folder / "out"
    file.write_bytes(content)
    out.mkdir()
    with file.open("rb") as stream:
        kind = archive.archive_kind(stream, str(file))
    if not isinstance(kind, str):
        return
    assert archive.unpack((str(file), kind), str(out), MANY) is None
    found = archive.contents(str(file), str(out), MANY)
    assert found is not None
    if cut < 0.7:  # tars end in zeros
        assert found.broken is not None
    if not flips or form in ("zip", "txz"):
        whole = bytes_of(file, found)
        assert all(FILES.get(name, data) == data for name, data in whole.items() if name in FILES)


@pytest.mark.parametrize("form", ["tar", "tgz", "txz", "zip-stored", "zip", "zip-streamed"])
def test_what_came_before_a_break_is_kept(tmp_path: Path, form: str) -> None:
    content = FORMS[form](FILES)
    file, found = opened(tmp_path, content[: len(content) * 2 // 3])
    whole = bytes_of(file, found)
    assert len(whole) >= 6
    assert all(FILES[name] == data for name, data in whole.items())
    assert found.broken is not None
    assert found.broken.reason is Reason.TRUNCATED
    assert [v.reason for v in verdicts(found).values()] == [Reason.TRUNCATED]


def test_gzip_in_several_streams(tmp_path: Path) -> None:
    content = tar_bytes(FILES)
    parts = gzip.compress(content[:5000]) + gzip.compress(content[5000:]) + b"\0" * 100
    file, found = opened(tmp_path, parts)
    assert bytes_of(file, found) == FILES
    assert found.broken is None


@pytest.mark.parametrize("form", FORMS)
def test_names_never_become_paths(tmp_path: Path, form: str) -> None:
    files = {"../../evil": b"1", "/etc/evil": b"22", "a/../../evil": b"333"}
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    file, found = opened(inner, FORMS[form](files))
    assert sorted(bytes_of(file, found).values()) == sorted(files.values())
    elsewhere = {p for p in tmp_path.rglob("*") if p.is_file()} - {file}
    assert {p.parent for p in elsewhere} == {inner / "out"}
    assert all(p.suffix in (".json", ".spool") for p in elsewhere)


def test_equal_names_become_distinct(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as out:
        for data in (b"first", b"second", b"third"):
            entry = tarfile.TarInfo("same")
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    file, found = opened(tmp_path, buffer.getvalue())
    wanted = {"same": b"first", "same #2": b"second", "same #3": b"third"}
    assert bytes_of(file, found) == wanted


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    tar = tar_bytes({"caf\udce9": b"1"}, form=tarfile.GNU_FORMAT)
    file, found = opened(tmp_path, tar)
    assert bytes_of(file, found) == {"caf\\udce9": b"1"}
    zipped = zip_bytes({"cafe": b"1"}).replace(b"cafe", b"caf\xe9")
    file, found = opened(tmp_path, zipped)
    assert bytes_of(file, found) == {"caf\u0398": b"1"}  # code page 437, as the format says
    flagged = bytearray(zip_bytes({"caf\u00e9": b"1"}))  # says UTF-8 ...
    flagged = flagged.replace("caf\u00e9".encode(), b"caf\xff\xfe")  # ... and is none
    file, found = opened(tmp_path, bytes(flagged))
    assert bytes_of(file, found) == {"caf\\udcff\\udcfe": b"1"}


@pytest.mark.parametrize("form", ["tgz", "tbz2", "txz", "tzst", "zip"])
def test_bombs_are_counted_while_writing(tmp_path: Path, form: str) -> None:
    content = FORMS[form]({"bomb": b"\0" * 30_000_000})
    file, found = opened(tmp_path, content, limit=1_000_000)
    assert found.members == ()
    assert found.broken is not None
    assert found.broken.reason is Reason.TOO_LARGE
    assert [p.suffix for p in (tmp_path / "out").iterdir()] == [".json"]
    again = archive.contents(str(file), str(tmp_path / "out"), 1_000_000)
    assert again == found  # not tried again ...
    assert (
        archive.contents(str(file), str(tmp_path / "out"), MANY) is None
    )  # ... but with more room


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 5)
    for form in ("tar", "tgz", "zip"):
        _, found = opened(tmp_path, FORMS[form](FILES))
        assert found.broken == Rejection(Reason.TOO_LARGE, "more than 5 members")


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_an_empty_archive_says_so(tmp_path: Path, form: str) -> None:
    file = tmp_path / "archive.tar"
    file.write_bytes(FORMS[form]({}))
    with file.open("rb") as stream:
        kind = archive.archive_kind(stream, str(file))
    assert kind == form
    archive.unpack((str(file), kind), str(tmp_path), MANY)
    found = archive.contents(str(file), str(tmp_path), MANY)
    assert found is not None
    assert found.broken == Rejection(Reason.NOT_DICOM, "an empty archive")


@pytest.mark.parametrize("content", [b"", b"PK", b"text", noise(5000), noise(5000) + b"PK\5\6"])
def test_what_is_no_archive(content: bytes) -> None:
    assert archive.archive_kind(io.BytesIO(content), "x.zip") is None


@pytest.mark.parametrize(
    ("name", "is_part"), [("a.z02", True), ("a.ZIP.003", True), ("a.zip", False), ("a.z2", False)]
)
def test_a_middle_part_of_a_split_zip_is_told_by_its_name(name: str, is_part: bool) -> None:
    wanted = Rejection(Reason.UNREADABLE, "a part of a split zip, by its name")
    assert archive.archive_kind(io.BytesIO(noise(5000)), name) == (wanted if is_part else None)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("content", [b"\n", b"a,b\n1,2\n" * 99])
def test_what_is_compressed_and_no_tar(pack: Callable[[bytes], bytes], content: bytes) -> None:
    found = archive.archive_kind(io.BytesIO(pack(content)), "x.zip")
    assert isinstance(found, Rejection)
    assert found.reason is Reason.NOT_DICOM
    assert found.detail.endswith(" of what is neither DICOM nor a tar")


def test_zstd_in_several_frames_and_a_window_too_wide(tmp_path: Path) -> None:
    """As pzstd writes it, skippable frames between; and as `zstd --long=31` does."""
    content, pack = tar_bytes(FILES), zstandard.ZstdCompressor().compress
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0pzst"
    parts = skippable + pack(content[:5000]) + skippable + pack(content[5000:])
    file, found = opened(tmp_path, parts)
    assert bytes_of(file, found) == FILES
    assert found.broken is None
    settings = zstandard.ZstdCompressionParameters(window_log=31, write_content_size=0)
    wide = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    with io.BytesIO(wide.compress(content) + wide.flush()) as stream:
        kind = archive.archive_kind(stream, "x")
    assert isinstance(kind, Rejection)
    assert kind.reason is Reason.UNREADABLE


def test_a_changed_archive_is_unpacked_anew_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    file, first = opened(tmp_path, FORMS["tgz"](FILES))
    spool = Path(first.spool)
    before = spool.stat().st_mtime_ns
    assert archive.unpack((str(file), "gzip"), str(tmp_path / "out"), MANY) is None
    assert spool.stat().st_mtime_ns == before
    os.truncate(spool, 100)
    assert archive.contents(str(file), str(tmp_path / "out"), MANY) is None
    spool.unlink()
    assert archive.contents(str(file), str(tmp_path / "out"), MANY) is None
    assert archive.unpack((str(file), "gzip"), str(tmp_path / "out"), MANY) is None
    assert bytes_of(file, first) == FILES
    file, second = opened(tmp_path, FORMS["tgz"]({"other": b"x"}))
    assert second.spool != first.spool
    assert set(bytes_of(file, second)) == {"other"}


def test_a_full_disk_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full stands for the spool: every flush fails with ENOSPC."""
    file, out = tmp_path / "a.tgz", tmp_path / "out"
    file.write_bytes(FORMS["tgz"]({"a": noise(100_000)}))
    out.mkdir()
    with no_room(monkeypatch), pytest.raises(CannotUnpackError, match="No space left"):
        archive.unpack((str(file), "gzip"), str(out), MANY)
    assert list(out.iterdir()) == []
    assert archive.unpack((str(file), "gzip"), str(out), MANY) is None


def test_a_file_that_cannot_be_read_is_a_verdict(tmp_path: Path) -> None:
    verdict = archive.unpack((str(tmp_path / "gone"), "zip"), str(tmp_path), MANY)
    assert verdict == Rejection(Reason.UNREADABLE, "FileNotFoundError")


KILLED = """
import sys
from ingest import archive
archive.unpack((sys.argv[1], "gzip"), sys.argv[2], 10**9)
"""


@pytest.mark.parametrize("seed", range(int(os.environ.get("DICOM2CLIP_SOAK", "1"))))
def test_kill_9_while_unpacking(tmp_path: Path, seed: int) -> None:
    files = {f"{n}": noise(4_000_000, n) for n in range(8)}
    file, out = tmp_path / "a.tgz", tmp_path / "out"
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as packed:
        packed.write(tar_bytes(files))
    file.write_bytes(buffer.getvalue())
    out.mkdir()
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(file), str(out)])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not list(out.iterdir()):
        time.sleep(0.001)
    time.sleep(random.Random(seed).uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert archive.unpack((str(file), "gzip"), str(out), MANY) is None
    found = archive.contents(str(file), str(out), MANY)
    assert found is not None
    assert bytes_of(file, found) == files
