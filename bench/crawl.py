"""Headers a second and a core: our reader against pydicom, on the same files, in one run.

In: folders of DICOM files. Out: JSON with both rates and their ratio. Files are read once before
timing, so that both find them in the page cache; the two take turns, and the best of three rounds
counts.

    python bench/crawl.py FOLDER [FOLDER ...]
"""

from __future__ import annotations

import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom

from ingest.crawl import walk
from ingest.header import read_header
from ingest.tags import KEYWORDS

ROUNDS = 3


def with_pydicom(path: str) -> None:
    """What a script would do: read all but the pixels, then get the same elements."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, EOFError, OSError):
            return
        for keyword in KEYWORDS:
            dataset.get(keyword)


def files_per_cpu_second(read: Callable[[str], object], paths: list[str]) -> float:
    start = time.process_time()
    for path in paths:
        read(path)
    return len(paths) / (time.process_time() - start)


def main() -> None:
    paths = [path for folder in sys.argv[1:] for path in walk(folder)]
    if not paths:
        sys.exit("give folders with DICOM files")
    for path in paths:
        Path(path).read_bytes()
    ours, theirs = 0.0, 0.0
    for _ in range(ROUNDS):
        ours = max(ours, files_per_cpu_second(read_header, paths))
        theirs = max(theirs, files_per_cpu_second(with_pydicom, paths))
    facts = {
        "files": len(paths),
        "ours_files_per_cpu_s": round(ours),
        "pydicom_files_per_cpu_s": round(theirs),
        "ratio": round(ours / theirs, 2),
        "python": platform.python_version(),
        "pydicom": pydicom.__version__,
        "machine": platform.machine(),
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
