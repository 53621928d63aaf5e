"""Some hundred real files -> thousands of studies, each with UIDs of its own.

In: a folder of DICOM and how many studies and bytes are wanted. Out: OUT/<copy>/<study>/<file>, and
a line of JSON with counts. Small studies are copied more often, so that many fit. A copy is the
file with its Study-, Series-, SOPInstance- and FrameOfReferenceUID replaced by others of the same
length, byte for byte: everything odd about a file stays. Files in which a UID is not to be found
(deflated ones, archives) are left out and counted.

    python bench/replicate.py ../shared/dicom OUT [--studies 2000] [--gigabytes 8]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
LEAST_DIGITS = 8
"""Of a UID's end, that tell copies apart: shorter ends might meet."""


def other_uid(uid: str, copy: int) -> str:
    """A UID of the same length: equal ones become equal ones, within a copy."""
    count = min(len(uid) - 2, 24)
    digits = str(int(hashlib.sha256(f"{copy} {uid}".encode()).hexdigest(), 16))[:count]
    return uid[:-count] + "".join(
        "." if old == "." else new for old, new in zip(uid[-count:], digits, strict=True)
    )


def uids_of(file: Path) -> dict[str, str]:
    """The UIDs that are replaced, by keyword; none where the file is no DICOM or cannot be
    patched."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(UIDS))
    except (InvalidDicomError, OSError, ValueError, AttributeError, EOFError):
        return {}
    found = {name: str(getattr(header, name, "") or "") for name in UIDS}
    data = file.read_bytes()
    first = [found["StudyInstanceUID"], found["SOPInstanceUID"]]
    if any(len(uid) < LEAST_DIGITS + 2 or uid.encode() not in data for uid in first):
        return {}
    return {name: uid for name, uid in found.items() if len(uid) >= LEAST_DIGITS + 2}


def write_copy(files: list[tuple[Path, dict[str, str]]], folder: Path, copy: int) -> int:
    """One study with other UIDs; its bytes."""
    folder.mkdir(parents=True)
    total = 0
    for number, (file, uids) in enumerate(files):
        data = file.read_bytes()
        for uid in sorted(set(uids.values()), key=len, reverse=True):  # the longer ones first
            data = data.replace(uid.encode(), other_uid(uid, copy).encode())
        (folder / f"{number:05d}").write_bytes(data)
        total += len(data)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--gigabytes", type=float, default=8.0)
    arguments = parser.parse_args()
    studies: dict[str, list[tuple[Path, dict[str, str]]]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for file in sorted(path for path in arguments.source.rglob("*") if path.is_file()):
        uids = uids_of(file)
        if uids:
            studies[uids["StudyInstanceUID"]].append((file, uids))
        else:
            counts["files_left_out"] += 1
    sizes = {uid: sum(f.stat().st_size for f, _ in files) for uid, files in studies.items()}
    left, room = arguments.studies, arguments.gigabytes * 1e9
    for done, uid in enumerate(sorted(sizes, key=lambda u: (-sizes[u], u))):  # the largest first
        share = len(sizes) - done
        copies = max(1, min(-(-left // share), int(room / share / sizes[uid])))
        for copy in range(min(copies, left)):
            written = write_copy(studies[uid], arguments.out / f"{copy:04d}" / f"{done:03d}", copy)
            room -= written
            left -= 1
            counts["studies"] += 1
            counts["bytes"] += written
            counts["files"] += len(studies[uid])
    print(json.dumps({"different_studies": len(sizes), **counts}))


if __name__ == "__main__":
    main()
