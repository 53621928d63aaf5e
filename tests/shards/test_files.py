from pathlib import Path

import pytest

from shards import files


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_atomic(path, b"old")

    def interrupted() -> None:
        with files.atomic_file(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_names_are_known_and_never_shared(tmp_path: Path) -> None:
    one, other = files.temporary_name(tmp_path / "0.tar"), files.temporary_name(tmp_path / "0.tar")
    assert one != other
    assert files.is_temporary(one)
    assert not files.is_temporary(tmp_path / "0.tar")
