"""dask's own account of a run, as one page: who did what when, on which worker.

In: a client. Out: RUN/performance.html, for runs of a minute or more. It holds names of functions
and hosts, none of files. A report that cannot be made costs a word, never the run.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import private

if TYPE_CHECKING:
    from distributed import Client

FILE = "performance.html"
WORTH_S = 60.0
"""Shorter runs need no report."""


def has_bokeh() -> bool:
    """Whether dask can draw: its dashboard and its reports."""
    return importlib.util.find_spec("bokeh") is not None


class Report:
    """Gathers from now on; `write` makes the page."""

    def __init__(self, client: Client, run: Path, say: Callable[[str], None]) -> None:
        self._client, self._run, self._say = client, run, say
        self._started = time.monotonic()
        self._gathering: Any = None
        if not has_bokeh():
            return
        from distributed import performance_report

        try:
            with client.as_current():
                self._gathering = performance_report(str(run / FILE), mode="inline")
                self._gathering.__enter__()
        except Exception as error:  # a scheduler without bokeh, say
            self._failed(error)

    def write(self) -> None:
        """Write the page, if the run took long enough."""
        if time.monotonic() - self._started < WORTH_S:
            return
        if not has_bokeh():
            self._say(f"no {FILE}: it needs bokeh (pip install 'dicom2clip[dashboard]')")
        elif self._gathering is not None:
            try:
                with self._client.as_current():
                    self._gathering.__exit__(None, None, None)
                (self._run / FILE).chmod(private.FILE_MODE)
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._gathering = None
        self._say(f"no {FILE}: {type(error).__name__}: {error}")
