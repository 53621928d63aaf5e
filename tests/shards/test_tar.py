import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from shards.tar import Member, TarWriter, members


def written(path: Path, payloads: dict[str, bytes]) -> str:
    with path.open("wb") as stream:
        writer = TarWriter(stream)
        for name, payload in payloads.items():
            writer.append(name, payload)
        return writer.finish()


def walk(path: Path) -> list[Member]:
    with path.open("rb") as stream:
        return list(members(stream, path.name))


def test_same_bytes_as_the_standard_library(tmp_path: Path) -> None:
    payloads = {"a.json": b"{}", "a.s00.npy": bytes(1024), "b.json": b""}
    digest = written(tmp_path / "a.tar", payloads)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, payload in payloads.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    data = (tmp_path / "a.tar").read_bytes()
    assert data == stream.getvalue()
    assert digest == hashlib.sha256(data).hexdigest()


def test_members_are_found_again(tmp_path: Path) -> None:
    payloads = {"a.json": b"{}", "a.s00.npy": bytes(range(200)) * 9}
    written(tmp_path / "a.tar", payloads)
    data = (tmp_path / "a.tar").read_bytes()
    found = {m.name: data[m.offset : m.offset + m.length] for m in walk(tmp_path / "a.tar")}
    assert found == payloads
    listed = subprocess.run(
        ["tar", "tf", tmp_path / "a.tar"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == list(payloads)


def test_a_truncated_tar_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    written(path, {"a.json": b"{}", "a.s00.npy": bytes(5000)})
    data = path.read_bytes()
    path.write_bytes(data[:3000])
    with pytest.raises(ValueError, match=r"a\.s00\.npy: truncated"):
        walk(path)
    path.write_bytes(data[:1024])
    with pytest.raises(ValueError, match="byte 1024: not a tar header: empty"):
        walk(path)


def test_a_damaged_header_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    written(path, {"a.json": b"{}", "a.s00.npy": bytes(5000)})
    data = bytearray(path.read_bytes())
    data[1024] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="byte 1024"):
        walk(path)
