"""Archives for tests, in every form, and what is found in them."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import zstandard

from ingest import archive
from ingest.archive import Contents
from study.records import Rejection

MANY = 10**9


def tar_bytes(
    files: Mapping[str, bytes], mode: str = "w:", form: int = tarfile.PAX_FORMAT
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as out:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return buffer.getvalue()


class Unseekable(io.BytesIO):
    """Makes zipfile write data descriptors: sizes after the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


def streamed_zip_bytes(files: Mapping[str, bytes]) -> bytes:
    buffer = Unseekable()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return buffer.getvalue()


FORMS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "tar": tar_bytes,
    "tar-gnu": lambda files: tar_bytes(files, form=tarfile.GNU_FORMAT),
    "tgz": lambda files: tar_bytes(files, "w:gz"),
    "tbz2": lambda files: tar_bytes(files, "w:bz2"),
    "txz": lambda files: tar_bytes(files, "w:xz"),
    "tzst": lambda files: zstandard.ZstdCompressor().compress(tar_bytes(files)),
    "zip-stored": lambda files: zip_bytes(files, zipfile.ZIP_STORED),
    "zip": zip_bytes,
    "zip-bzip2": lambda files: zip_bytes(files, zipfile.ZIP_BZIP2),
    "zip-streamed": streamed_zip_bytes,
    "zip-after-rubbish": lambda files: b"PK\3\4 rubbish" * 9 + zip_bytes(files),
}


IN_PLACE = {"tar", "tar-gnu", "zip-stored"}


def noise(count: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(count)


FILES = {f"s{n // 4}/{n:03d}.dcm": noise(2000 + n, n) for n in range(12)}


def opened(
    folder: Path, content: bytes, limit: int = MANY, name: str = "archive"
) -> tuple[Path, Contents]:
    """Write an archive, unpack it into folder/out, and list it."""
    file, out = folder / name, folder / "out"
    file.write_bytes(content)
    out.mkdir(exist_ok=True)
    with file.open("rb") as stream:
        kind = archive.archive_kind(stream, str(file))
    assert isinstance(kind, str)
    assert archive.unpack((str(file), kind), str(out), limit) is None
    found = archive.contents(str(file), str(out), limit)
    assert found is not None
    return file, found


def bytes_of(file: Path, found: Contents) -> dict[str, bytes]:
    whole = {True: b"", False: file.read_bytes()}
    if any(m.in_spool for m in found.members):
        whole[True] = Path(found.spool).read_bytes()
    good = [m for m in found.members if m.verdict is None]
    return {m.name: whole[m.in_spool][m.at : m.at + m.length] for m in good}


def verdicts(found: Contents) -> dict[str, Rejection]:
    return {m.name: m.verdict for m in found.members if m.verdict is not None}
