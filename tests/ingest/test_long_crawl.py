"""A crawl some files at a time finds what a crawl of all at once finds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from crawl_runs import Run, everything, here
from hypothesis import given
from hypothesis import strategies as st
from job_runs import fingerprints, pipeline, run, write_key, write_reports, write_study

from ingest import long_crawl, table
from ingest.crawl import MAX_UNPACKED, settings_of
from ingest.source_files import all_files, walk
from ingest.supervise import USUAL_LIMITS
from study.errors import UserError
from study.ingest_sections import VolumeFiles
from study.records import Instance

NAMES = st.text("ab.!- z", min_size=1, max_size=3).filter(lambda name: set(name) != {"."})


@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12))
def test_files_come_in_the_order_of_their_paths(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("x")
    for name in names:
        file = folder / name
        if not any(part.is_file() for part in [file, *file.parents]) and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    found = list(walk(str(folder)))
    assert found == sorted(found)
    assert set(found) == {str(path) for path in folder.rglob("*") if path.is_file()}


def test_folders_within_folders_are_walked_once(tmp_path: Path) -> None:
    for name in ("a/b/1", "a/2", "ab/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path / "a", tmp_path / "ab" / "link")
    a, b, ab = (str(tmp_path / name) for name in ("a", "a/b", "ab"))
    wanted = [f"{a}/2", f"{a}/b/1", f"{ab}/3", f"{ab}/link"]
    assert list(all_files([b, ab, a, a])) == wanted
    assert list(all_files([f"{a}/"])) == wanted[:2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no files"):
        list(all_files([a, str(tmp_path / "empty")]))


def chunks(run: Run, files: int, monkeypatch: pytest.MonkeyPatch) -> list[Instance]:
    monkeypatch.setattr(long_crawl, "FILES", files)
    progress: list[tuple[int, int]] = []
    file = run.run / "instances.parquet"
    source = [str(run.source)]
    settings = settings_of(source, file, None, VolumeFiles(), MAX_UNPACKED, USUAL_LIMITS)
    found = long_crawl.crawl_in_chunks(
        source, file, here, lambda done, total: progress.append((done, total)), settings
    )
    rows = list(long_crawl.Crawled(found, [str(run.source)]))
    assert progress[-1][0] == progress[-1][1]
    run.run.mkdir(exist_ok=True)
    table.write(file, rows)
    return rows


@pytest.mark.parametrize("files", [1, 3, 1000])
def test_chunks_hold_what_a_whole_crawl_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], files: int
) -> None:
    whole, parted = Run(tmp_path), Run(tmp_path)
    parted.run = tmp_path / "run2"
    everything(whole, tmp_path)

    def bare(rows: list[Instance]) -> list[Instance]:
        spools = str(parted.run), str(whole.run)
        cleared = (
            replace(
                row,
                pixel_digest="",
                identifying=(),
                file_mtime_ns=0,
                stored_in=row.stored_in.replace(*spools),
            )
            for row in rows
        )
        return sorted(cleared, key=lambda row: (row.path, row.frame))

    found = chunks(parted, files, monkeypatch)
    assert bare(found) == bare(whole.crawl())
    reads.clear()
    assert bare(chunks(parted, files + 1, monkeypatch)) == bare(found)
    assert not reads
    (parted.source / "a" / "new.dcm").write_bytes((parted.source / "a" / "0000.dcm").read_bytes())
    assert len(chunks(parted, files, monkeypatch)) == len(found) + 1
    assert reads == ["new.dcm"]


def test_only_the_end_shows_that_nothing_is_dicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    for number in range(5):
        (run.source / f"{number}.txt").write_text("not DICOM")
    with pytest.raises(UserError, match="none of the 5 files"):
        chunks(run, 2, monkeypatch)
    assert not run.run.exists()


def test_copies_far_apart_are_found_in_a_job(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digests that tell copies are made where a study is whole, whatever the chunks."""
    found = []
    for number in range(2):
        write_study(tmp_path / "scans", number, num_series=1)
        write_study(tmp_path / "scans" / "z", number, num_series=1)
    write_reports(tmp_path / "reports.csv", range(2))
    for files in (1000, 4):
        monkeypatch.setattr(long_crawl, "FILES", files)
        home = tmp_path / str(files)
        write_key(home / "run", "77" * 32)
        (home / "scans").symlink_to(tmp_path / "scans")
        (home / "reports.csv").symlink_to(tmp_path / "reports.csv")
        result = run(pipeline(home, scheduler))
        assert result.sums.by_reason == {"DUPLICATE_INSTANCE": 12}
        found.append(fingerprints(home / "dataset"))
    assert found[0] == found[1]
