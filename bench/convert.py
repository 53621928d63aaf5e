"""A series to a volume: our converter against dcm2niix, on the same files, in one run.

In: the folder of real scanner data with its `expected_volumes.json`. Out: JSON with seconds of both
for each of the larger series, with and without the start of a process, and their ratio. Files are
copied to a folder a series and read once before timing; the two take turns; the best round counts.
Without start: dcm2niix less its time on an empty folder; ours in a process already there, with
its decoding process. Both write uncompressed NIfTI.

    python bench/convert.py [--data ../shared/dicom] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dcm2niix

from ingest import native
from ingest.group import group_study
from ingest.header import read_header
from ingest.supervise import Supervised, limits_of
from study.config import ingest_settings

LARGER_BYTES = 2_000_000
"""Series of fewer bytes say more about start-up than about reading."""
OPTIONS = ["-b", "n", "-z", "n", "-p", "n", "-w", "1"]


def seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def with_dcm2niix(source: Path, out: Path) -> None:
    command = [dcm2niix.bin, *OPTIONS, "-f", "%j", "-o", str(out), str(source)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def in_process(source: Path, out: Path, decoder: Supervised) -> int:
    """Headers, grouping, pixels, NIfTI; the number of volumes."""
    settings = ingest_settings(["rules.max_volumes_per_series=1000000"])
    images = [row for file in sorted(source.iterdir()) for row in read_header(str(file))]
    plans = group_study(images, settings.select, settings.rules).plans
    for item in native.named(list(enumerate(plans)), ".nii"):
        assert isinstance(native.write_volume(item, out, decoder), dict)
    return len(plans)


def with_command(source: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    command = [str(Path(sys.executable).parent / "dicom2clip"), "ingest", "nifti", "--json"]
    subprocess.run([*command, str(source), str(out)], check=True, stdout=subprocess.DEVNULL)


def series_folders(data: Path, work: Path) -> dict[str, dict[str, Any]]:
    """Copies of the larger usable series, a folder each, by a readable name."""
    found = {}
    by_series: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(p for p in data.rglob("*") if p.is_file()):
        for uid in {row.series_uid for row in read_header(str(file))}:
            by_series[uid].append(file)
    known = json.loads((data / "expected_volumes.json").read_text())["series"]
    for uid, facts in known.items():
        files = by_series[uid]
        size = sum(file.stat().st_size for file in files)
        if facts["expected"]["action"] == "reject" or size < LARGER_BYTES:
            continue
        if "after_split" in facts["expected"] or "duplicates_of_one_volume" in facts["expected"]:
            continue
        name = f"{facts['corpus']} {facts['tags'].get('SeriesDescription') or ''}".strip()
        target = work / f"{len(found):02d}"
        target.mkdir()
        for number, file in enumerate(files):
            shutil.copyfile(file, target / f"{number:05d}")
        found[f"{name} ({target.name})"] = {"folder": target, "bytes": size, "files": len(files)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/dicom"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        out, empty = work / "out", work / "empty"
        empty.mkdir()
        speed = ingest_settings().speed
        decoder = Supervised(limits_of(speed))
        for title, facts in series_folders(arguments.data, work).items():
            source = facts["folder"]
            best: dict[str, float] = {}
            for _ in range(arguments.rounds):
                for what, task in (
                    ("dcm2niix", partial(with_dcm2niix, source, out)),
                    ("dcm2niix_start", partial(with_dcm2niix, empty, out)),
                    ("ours_without_start", partial(in_process, source, out, decoder)),
                ):
                    shutil.rmtree(out, ignore_errors=True)
                    out.mkdir()
                    best[what] = min(best.get(what, 1e9), seconds(task))
            best["ours"] = min(seconds(partial(with_command, source, out)) for _ in range(2))
            best["dcm2niix_without_start"] = best["dcm2niix"] - best["dcm2niix_start"]
            rows.append(
                {
                    "series": title,
                    "files": facts["files"],
                    "megabytes": round(facts["bytes"] / 1e6, 1),
                    **{what: round(value, 4) for what, value in sorted(best.items())},
                    "ratio_without_start": round(
                        best["ours_without_start"] / best["dcm2niix_without_start"], 2
                    ),
                    "ratio": round(best["ours"] / best["dcm2niix"], 2),
                }
            )
        decoder.close()
    total = {
        what: sum(row[what] for row in rows)
        for what in ("ours", "ours_without_start", "dcm2niix", "dcm2niix_without_start")
    }
    print(
        json.dumps(
            {
                "series": rows,
                "ratio_without_start": round(
                    total["ours_without_start"] / total["dcm2niix_without_start"], 2
                ),
                "ratio": round(total["ours"] / total["dcm2niix"], 2),
                "python": platform.python_version(),
                "machine": platform.machine(),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
