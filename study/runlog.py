"""The run log: one JSON object a line, for people with `jq` and for our own summaries.

In: named events with plain values. Out: `log.jsonl`, appended line by line so that a killed run
loses no line but its last. Only its owner may read it: errors of files hold their paths.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from study import private
from study.errors import naming


class RunLog:
    """Appends events to a JSON-lines file. Every line has `time` (UTC, ISO 8601) and `event`."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, private.FILE_MODE)
        self._stream = os.fdopen(descriptor, "a", encoding="utf-8")

    def event(self, event: str, **values: Any) -> None:
        """Write one line; values must be JSON, or have a `str` worth reading."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            **values,
        }
        with naming(self._file):
            self._stream.write(json.dumps(line, default=str) + "\n")
            self._stream.flush()

    def close(self) -> None:
        with naming(self._file):
            self._stream.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def provenance() -> dict[str, str]:
    """Versions of what shapes results. No host name, user, path or time: it may be written into a
    dataset."""
    packages = (
        "dicom2clip",
        "pydicom",
        "SimpleITK",
        "numpy",
        "torch",
        "open_clip_torch",
        "webdataset",
    )
    return {"python": platform.python_version(), **{name: version_of(name) for name in packages}}


def version_of(package: str) -> str:
    """Version of an installed package, or "unknown" where it runs from a bare source tree."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
