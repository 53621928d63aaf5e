"""Broken and hostile files go through everything: no crash, no hang, every file accounted for."""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutations import mutate

from ingest import guarded, ledger
from ingest.group import group_study
from ingest.header import read_header
from ingest.pixels import digests, read_volume
from ingest.place import Place
from ingest.supervise import Limits, Supervised
from ingest.undecodable import UndecodableError
from study.ingest_sections import Rules, Select
from study.records import Instance, Rejection, Status

LIMITS = Limits(cpu_s=1, memory_bytes=6 << 30, wall_s=300)
BLOCK = 100
"""Mutations of one test; `make soak` runs twenty of them."""
EVERYTHING = Rules(min_slices=1, max_voxels=1 << 28)


@pytest.fixture(scope="module")
def originals(real_data: Path) -> list[Path]:
    """Small real files: some of every folder that holds any, compressed ones all."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted((real_data / "dicom").rglob("*")):
        if path.is_file() and path.suffix not in (".json", ".md", ".sha256"):
            folders[path.parent].append(path)
    chosen = [path for paths in folders.values() for path in paths[:12]]
    return [path for path in chosen if 1000 < path.stat().st_size < 1_500_000]


@pytest.fixture(scope="module")
def child() -> Iterator[Supervised]:
    with Supervised(LIMITS) as child:
        yield child


def rows_of(file: Path, child: Supervised) -> list[Instance]:
    """The rows of a file; its header is read in the child, since pydicom can take minutes."""

    def failed(path: str, why: Rejection) -> list[Instance]:
        return [Instance(path, reason=why.reason, detail=why.detail)]

    [rows] = guarded.each(child, read_header, [str(file)], failed)
    return rows


def account(file: Path, child: Supervised) -> Counter[str]:
    """What became of a file or its frames, by status or reason; asserts that all have one."""
    instances = rows_of(file, child)
    assert instances
    assert {instance.path for instance in instances} == {str(file)}
    by_study = defaultdict(list)
    for instance in instances:
        by_study[instance.study_uid].append(instance)
    nowhere = by_study.pop("", [])
    assert all(instance.reason for instance in nowhere)
    counts = Counter(str(instance.reason) for instance in nowhere)
    for study_uid, found in by_study.items():
        grouping = group_study(found, Select(), EVERYTHING)
        ledger.check(grouping.rows, found)
        failed = {}
        for number, plan in enumerate(grouping.plans):
            try:
                volume = child.call(read_volume, plan)
                assert volume.shape == (len(plan.slices), plan.rows, plan.columns)
            except UndecodableError as error:
                failed[study_uid, number] = error.reason, error.detail
        rows = ledger.with_outcomes(grouping.rows, failed, {})  # type: ignore[arg-type]
        assert all(row.status is Status.USED or row.reason for row in rows)
        counts.update(str(row.reason or row.status) for row in rows)
    assert sum(counts.values()) == len(instances)
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("block", range(int(os.environ.get("DICOM2CLIP_SOAK", "1"))))
def test_mutated_files_are_accounted_for(
    tmp_path: Path, originals: list[Path], child: Supervised, block: int
) -> None:
    counts: Counter[str] = Counter()
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        rng = random.Random(seed)
        original = rng.choice(originals)
        name, data = mutate(original.read_bytes(), rng)
        file = tmp_path / "file.dcm"
        file.write_bytes(data)
        started = time.monotonic()
        try:
            counts += account(file, child)
            guarded.each(child, digests, [Place(str(file))], lambda place, why: [place.path])
        except BaseException as error:
            error.add_note(f"seed {seed}: {name} of {original}")
            raise
        if os.environ.get("SHOW"):
            took = time.monotonic() - started
            print(seed, name, original.name, f"{took * 1e3:.0f} ms")
    if os.environ.get("SHOW"):
        print(counts)
    assert len(counts) > 5
    assert 0 < counts["used"] < sum(counts.values())
