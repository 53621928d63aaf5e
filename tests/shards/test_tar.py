import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from shards.tar import TarWriter


def written(path: Path, payloads: dict[str, bytes]) -> str:
    with path.open("wb") as stream:
        writer = TarWriter(stream)
        for name, payload in payloads.items():
            writer.append(name, payload)
        return writer.finish()


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


def test_members_lie_where_the_writer_says(tmp_path: Path) -> None:
    payloads = {"a.json": b"{}", "a.s00.npy": bytes(range(200)) * 9}
    with (tmp_path / "a.tar").open("wb") as stream:
        writer = TarWriter(stream)
        offsets = {name: writer.append(name, payload) for name, payload in payloads.items()}
        writer.finish()
    data = (tmp_path / "a.tar").read_bytes()
    found = {name: data[at : at + len(payloads[name])] for name, at in offsets.items()}
    assert found == payloads
    listed = subprocess.run(
        ["tar", "tf", tmp_path / "a.tar"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == list(payloads)
