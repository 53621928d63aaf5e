"""Private files are there whole or not at all, for their owner alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from study import private


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    private.write_text(tmp_path / "keys", "secret")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_keeps_the_old_file_and_names_it(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    private.write_text(file, "old")
    with pytest.raises(OSError, match="keys") as raised, private.replacing(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(file))
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]
    assert file.read_text() == "old"
