"""Two processes do not write into one folder at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from study.alone import alone_in
from study.errors import UserError

HOLD = """
import sys
from pathlib import Path
from study.alone import alone_in
with alone_in(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"in\n"
        with pytest.raises(UserError, match="another process is at work"), alone_in(tmp_path):
            pass
        first.kill()
    with alone_in(tmp_path):
        assert list(tmp_path.iterdir()) == []
