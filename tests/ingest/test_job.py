"""The whole ingestion on small DICOM folders: dataset, ledger, resumption, refusals."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from job_runs import fingerprints, pipeline, places, run, write_key, write_reports, write_study

from ingest import job, ledger
from shards.reader import Dataset
from study.errors import UserError
from study.ingest_sections import Grid


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for number in range(5):
        write_study(folder, number)
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "study0" / "copy").write_bytes(
        (folder / "study0" / "series0" / "0000.dcm").read_bytes()
    )
    write_reports(tmp_path / "reports.csv", range(4))
    return folder


def test_from_files_to_a_dataset(tmp_path: Path, source: Path, scheduler: str) -> None:
    result = run(pipeline(tmp_path, scheduler))
    assert result.sums.by_status == {"used": 60, "duplicate": 1, "rejected": 1}
    assert result.sums.by_reason == {"DUPLICATE_INSTANCE": 1, "NOT_DICOM": 1}
    assert sum(result.sums.by_status.values()) == sum(1 for p in source.rglob("*") if p.is_file())
    assert result.reports is not None
    assert (result.reports.joined, result.reports.missing) == (4, 1)
    dataset = Dataset.open(tmp_path / "dataset")
    assert len(dataset) == 5
    studies = [dataset.study(ref.key) for ref in dataset.samples()]
    assert all(len(s.scans) == 2 for s in studies)
    assert sorted(len(s.report.sentences.get("offline", ())) for s in studies) == [0, 2, 2, 2, 2]
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    rows = ledger.read(tmp_path / "run" / "ledger.parquet")
    assert {row.scan for row in rows if row.status == "used"} == {0, 1}


def test_a_second_run_does_nothing(tmp_path: Path, source: Path, scheduler: str) -> None:
    run(pipeline(tmp_path, scheduler))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "dataset").iterdir()}
    result = run(pipeline(tmp_path, scheduler))
    assert result.nothing_to_do
    assert result.sums.by_status == {"used": 60, "duplicate": 1, "rejected": 1}
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "dataset").iterdir()}


def test_new_studies_become_new_shards(tmp_path: Path, source: Path, scheduler: str) -> None:
    run(pipeline(tmp_path, scheduler))
    before = fingerprints(tmp_path / "dataset")
    write_study(source, 77)
    result = run(pipeline(tmp_path, scheduler))
    assert (result.shards_written, result.info.num_studies) == (1, 6)
    after = fingerprints(tmp_path / "dataset")
    assert all(after[name] == before[name] for name in before if name.endswith(".tar"))


def test_an_extension_that_was_stopped_before_its_books_is_finished(
    tmp_path: Path, source: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline(tmp_path, scheduler))
    write_study(source, 77)
    with monkeypatch.context() as patch:

        def stopped(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("ingest.job.finish_dataset", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(pipeline(tmp_path, scheduler))
    assert run(pipeline(tmp_path, scheduler)).info.num_studies == 6


def test_studies_that_vanish_keep_their_shards_and_their_numbers(
    tmp_path: Path, source: Path, scheduler: str
) -> None:
    write_study(source, 77)
    run(pipeline(tmp_path, scheduler))
    last = max(places(tmp_path).values())
    by_key = {s.key: s for s in Dataset.open(tmp_path / "dataset").samples()}
    assert by_key
    keys = pq.read_table(tmp_path / "run" / "keys.parquet").to_pylist()
    shards = places(tmp_path)
    for row in keys:
        if shards[row["key"]] == last:
            shutil.rmtree(source / f"study{row['study_uid'].removeprefix('1.2.')}")
    assert run(pipeline(tmp_path, scheduler)).nothing_to_do
    write_study(source, 88)
    result = run(pipeline(tmp_path, scheduler))
    assert (result.shards_written, result.info.num_studies) == (1, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": "dataset/run"}, "run and dataset must be apart"),
        ({"dataset": "scans/dataset"}, "dataset and ingest.source must be apart"),
        ({"dataset": "mine"}, "holds other files"),
    ],
)
def test_folders_are_not_mixed(
    tmp_path: Path, source: Path, scheduler: str, changes: dict[str, str], message: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "20240101.tar").write_text("precious")
    where = {name: str(tmp_path / folder) for name, folder in changes.items()}
    with pytest.raises(UserError, match=message):
        run(pipeline(tmp_path, scheduler).model_copy(update=where))
    assert (tmp_path / "mine" / "20240101.tar").read_text() == "precious"


def test_a_second_run_at_the_same_time_is_refused(
    tmp_path: Path, source: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flock(2) tells open files apart, not processes: one process can play both."""
    convert, refused = job._convert, []

    def meanwhile(*arguments: Any) -> int:
        with pytest.raises(UserError, match=r"another process is at work in .*run"):
            run(pipeline(tmp_path, scheduler))
        refused.append(True)
        return convert(*arguments)

    monkeypatch.setattr(job, "_convert", meanwhile)
    assert run(pipeline(tmp_path, scheduler)).info.num_studies > 0
    assert refused == [True]


def test_a_run_folder_that_cannot_be_made_is_told_before_the_crawl(
    tmp_path: Path, source: Path, reads: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    for run_folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=r"^run: .* cannot be written"):
            run(pipeline(tmp_path).model_copy(update={"run": str(run_folder)}))
    assert reads == []


def test_what_cannot_be_decoded_is_in_the_ledger(
    tmp_path: Path, source: Path, scheduler: str
) -> None:
    """A file whose header reads well passes the crawl, and fails in the worker."""
    import pydicom

    victim = source / "study1" / "series0" / "0002.dcm"
    dataset = pydicom.dcmread(victim)
    dataset.BitsAllocated = 12  # nothing can decode this
    dataset.save_as(victim)
    result = run(pipeline(tmp_path, scheduler))
    assert result.sums.by_reason["UNDECODABLE_PIXELS"] == 6
    assert result.sums.failures == 6
    assert result.info.num_scans == 9


def test_other_settings_are_refused_with_the_difference(
    tmp_path: Path, source: Path, scheduler: str
) -> None:
    run(pipeline(tmp_path, scheduler))
    other = pipeline(tmp_path, scheduler, grid=Grid(depth=8, resize=16, size=16))
    with pytest.raises(UserError, match=r"ingest.grid.depth: 4 there, 8 now"):
        run(other)


def test_another_key_is_refused(tmp_path: Path, source: Path, scheduler: str) -> None:
    run(pipeline(tmp_path, scheduler))
    write_key(tmp_path / "run", "11" * 32)
    with pytest.raises(UserError, match="another project key"):
        run(pipeline(tmp_path, scheduler))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda f: None, "does not exist"),
        (lambda f: (f / "scans").mkdir(), "holds no files"),
        (lambda f: (f / "scans").write_text("a file"), "is not a folder"),
        (lambda f: ((f / "scans").mkdir(), (f / "scans" / "a.txt").write_text("x")), "is DICOM"),
    ],
)
def test_bad_sources_write_nothing(
    tmp_path: Path, scheduler: str, prepare: object, message: str
) -> None:
    prepare(tmp_path)  # type: ignore[operator]
    write_reports(tmp_path / "reports.csv", range(1))
    with pytest.raises(UserError, match=message):
        run(pipeline(tmp_path, scheduler))
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "dataset").exists()


def test_a_broken_reports_table_writes_nothing(
    tmp_path: Path, source: Path, scheduler: str
) -> None:
    (tmp_path / "reports.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column"):
        run(pipeline(tmp_path, scheduler))
    assert not (tmp_path / "run").exists()


def test_an_unreachable_scheduler_is_the_users_error(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UserError, match="does not answer"):
        run(pipeline(tmp_path, "tcp://127.0.0.1:9"))


def test_shards_that_cannot_be_written_are_named_and_come_later(
    tmp_path: Path, source: Path, scheduler: str
) -> None:
    (tmp_path / "dataset").write_text("in the way")
    with pytest.raises(UserError, match=r"3 of 3 shards could not be written"):
        run(pipeline(tmp_path, scheduler))
    (tmp_path / "dataset").unlink()
    assert run(pipeline(tmp_path, scheduler)).shards_written == 3


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, source: Path) -> None:
    key = "22" * 32
    found = []
    for workers in (1, 2):
        home = tmp_path / f"w{workers}"
        write_key(home / "run", key)
        (home / "scans").symlink_to(source)
        (home / "reports.csv").write_bytes((tmp_path / "reports.csv").read_bytes())
        run(pipeline(home, workers=workers))
        found.append(fingerprints(home / "dataset"))
    assert found[0] == found[1]
    assert any(name.endswith(".tar") for name in found[0])


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from typing import Any
from job_runs import pipeline, run
from ingest import long_crawl, partition
long_crawl.FILES, partition.ROWS = 16, 20  # several chunks and parts; undisturbed there is one
if __name__ == "__main__":
    run(pipeline(Path(sys.argv[2]), workers=1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("DICOM2CLIP_SOAK", "1"))))
def test_kill_9_and_run_again_gives_the_undisturbed_dataset(
    tmp_path: Path, source: Path, scheduler: str, seed: int
) -> None:
    write_key(tmp_path / "run", "33" * 32)
    run(pipeline(tmp_path, scheduler))
    undisturbed = fingerprints(tmp_path / "dataset")

    home = tmp_path / "killed"
    write_key(home / "run", "33" * 32)
    (home / "scans").symlink_to(source)
    (home / "reports.csv").write_bytes((tmp_path / "reports.csv").read_bytes())
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    process = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent), str(home)], start_new_session=True
    )
    deadline = time.monotonic() + 60
    signs = ["dataset/*", "dataset/*.tar", "run/plan.parquet", "run/instances.parquet"]
    signs += ["run/partitions/instances/*", "run/scans.parquet/*", "run/ledger.parquet/*"]
    sign = signs[seed % len(signs)]
    while time.monotonic() < deadline and not list(home.glob(sign)):
        time.sleep(0.001)
    time.sleep(random.Random(seed).uniform(0, 0.1))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run(pipeline(home, scheduler))
    assert fingerprints(home / "dataset") == undisturbed


def test_a_dataset_at_a_url_is_that_of_a_folder(
    tmp_path: Path, source: Path, scheduler: str
) -> None:
    run(pipeline(tmp_path, scheduler))
    remote = pipeline(tmp_path, scheduler).model_copy(
        update={"dataset": f"local://{tmp_path}/remote", "run": str(tmp_path / "run2")}
    )
    write_key(tmp_path / "run2", (tmp_path / "run" / "project.key").read_text())
    run(remote)
    assert fingerprints(tmp_path / "remote") == fingerprints(tmp_path / "dataset")
    assert Dataset.open(remote.dataset).read_study(
        Dataset.open(remote.dataset).samples()[0]
    ) == Dataset.open(tmp_path / "dataset").read_study(
        Dataset.open(tmp_path / "dataset").samples()[0]
    )
    assert run(remote).nothing_to_do
