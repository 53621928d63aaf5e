"""A process that is killed before its n-th call to the file system, for scripts that tests run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def die_at(fatal: int) -> None:
    """From now on, die by SIGKILL before the call number `fatal` (from 0) that syncs, renames or
    removes a file."""
    calls = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return real(*args, **options)

        return call

    os.fsync = counted(os.fsync)
    Path.replace = counted(Path.replace)  # type: ignore[method-assign]
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]


def environment() -> dict[str, str]:
    """Of a script that imports the program and what is beside this file."""
    here = Path(__file__).resolve()
    return {**os.environ, "PYTHONPATH": f"{here.parents[2]}{os.pathsep}{here.parent}"}
