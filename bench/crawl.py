"""Headers a second and a core: our reader against pydicom, on the same files, in one run.

In: folders of DICOM files. Out: JSON with both rates and their ratio, for all files, for those with
one image, and for enhanced multi-frame files, whose frames all give a row. Both read the same
facts: pydicom is asked for the same elements at the top, and for those of the functional groups of
every frame, and converts no other. Files are read once before timing, so that both find them in the
page cache; the two take turns, and the best of the rounds counts. Times are CPU times.

    python bench/crawl.py FOLDER [FOLDER ...]
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from ingest.fast_values import TAGS
from ingest.header import read_header
from ingest.source_files import walk
from ingest.tags import PRIVATE_TAGS

ROUNDS = 5
WANTED = frozenset((*TAGS.values(), *PRIVATE_TAGS))


def with_pydicom(path: str) -> None:
    """What a careful script would do: read all but the pixels, then get the same elements."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, EOFError, OSError):
            return
        wanted_of(dataset)
        for item in dataset.get("SharedFunctionalGroupsSequence") or []:
            groups_of(item)
        for item in dataset.get("PerFrameFunctionalGroupsSequence") or []:
            groups_of(item)


def wanted_of(dataset: Dataset) -> None:
    for tag in WANTED & dataset.keys():
        dataset[tag].value  # noqa: B018  (converts the element)


def groups_of(item: Dataset) -> None:
    """Get the elements of the functional groups in an item, nested ones too."""
    for tag in item.keys():  # noqa: SIM118  (iteration over a data set converts every element)
        if item.get_item(tag).VR == "SQ" and item[tag].value:
            wanted_of(item[tag].value[0])
            groups_of(item[tag].value[0])


def cpu_seconds(read: Callable[[str], object], paths: list[str]) -> float:
    start = time.process_time()
    for path in paths:
        read(path)
    return time.process_time() - start


def compare(paths: list[str]) -> dict[str, float]:
    pairs = [
        (cpu_seconds(read_header, paths), cpu_seconds(with_pydicom, paths)) for _ in range(ROUNDS)
    ]
    ours, theirs = (min(seconds) for seconds in zip(*pairs, strict=True))
    return {
        "files": len(paths),
        "ours_files_per_cpu_s": round(len(paths) / ours),
        "pydicom_files_per_cpu_s": round(len(paths) / theirs),
        "ratio": round(theirs / ours, 2),
    }


def main() -> None:
    paths = [path for folder in sys.argv[1:] for path in walk(folder)]
    if not paths:
        sys.exit("give folders with DICOM files")
    groups: dict[str, list[str]] = {"all": paths, "single_frame": [], "enhanced": []}
    num_frames = 0
    for path in paths:
        Path(path).read_bytes()
        rows = read_header(path)
        if rows[0].sop_class_uid:
            groups["single_frame" if len(rows) == 1 else "enhanced"].append(path)
            num_frames += len(rows) if len(rows) > 1 else 0
    facts = {name: compare(group) for name, group in groups.items() if group}
    if "enhanced" in facts:
        facts["enhanced"]["frames"] = num_frames
    machine = {
        "python": platform.python_version(),
        "pydicom": pydicom.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps({**facts, **machine}, indent=1))


if __name__ == "__main__":
    main()
