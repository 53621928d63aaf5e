"""Rows dealt out by ranges of pseudonyms, and the parts that workers make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dicom_files import make_series, save
from hypothesis import given, settings
from hypothesis import strategies as st
from job_runs import fingerprints, pipeline, run, write_key, write_reports, write_study

from ingest import ledger, partition, planning, taskstore
from ingest.cluster import Workers
from ingest.report_join import JoinCounts
from ingest.table import batches, instances_of, num_rows, read
from study import pseudonyms
from study.ingest_sections import IngestSpeed
from study.pseudonyms import pseudonym

KEY = bytes(range(32))


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=6),
    st.integers(1, 7),
    st.integers(1, 400),
)
def test_every_row_comes_once_into_its_part_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, tables: list[list[int]], parts: int, limit: int
) -> None:
    folder = tmp_path_factory.mktemp("x") / "rows"
    schema = pa.schema([("n", pa.int64()), ("list", pa.list_(pa.string()))])
    with pytest.MonkeyPatch.context() as patch, partition.Scatter(folder, parts) as scatter:
        patch.setattr(partition, "BUFFER_BYTES", limit)
        for wanted in tables:
            lists = [None if n == 3 else [str(n)] * n for n in wanted]
            rows = pa.table([wanted, lists], schema=schema)
            scatter.add(rows, np.array(wanted, np.int64) % parts)
    rows = [n for wanted in tables for n in wanted]
    for part in range(parts):
        found = partition.read(folder, part, schema)
        assert found["n"].to_pylist() == [n for n in rows if n % parts == part]
        assert all(
            len(v or "abc") == n for n, v in zip(*found.columns, strict=True) if n.as_py() == n
        )
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.iterdir())


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(1, 5000))
def test_parts_are_ranges_of_keys(key: str, parts: int) -> None:
    part = partition.part_of(key, parts)
    assert 0 <= part < parts
    assert partition.part_of("0" * 32, parts) <= part <= partition.part_of("f" * 32, parts)
    assert partition.part_of(key[:8] + "0" * 24, parts) == part


def test_images_of_a_study_are_together_and_others_are_spread() -> None:
    rows = pa.table(
        {
            "path": [f"/data/{n}" for n in range(40)],
            "study_uid": [f"1.2.{n // 4}" if n < 20 else "" for n in range(40)],
        }
    )
    found = partition.parts_of_images(rows, KEY, 3)
    wanted = [partition.part_of(pseudonym(KEY, "study", f"1.2.{n}"), 3) for n in range(5)]
    assert found[:20].tolist() == [part for part in wanted for _ in range(4)]
    assert len(set(found[20:].tolist())) == 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for number in range(7):
        write_study(folder, number, num_series=1)
    for number in range(5):
        (folder / f"notes{number}.txt").write_text("not DICOM")
    save(make_series(np.zeros((5, 8, 8)), StudyInstanceUID="1.2.99"), folder / "constant")
    write_reports(tmp_path / "reports.csv", range(5))
    labels = ["StudyInstanceUID,mass,bleed", *(f"1.2.{n},{n % 2}," for n in range(1, 9))]
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n")
    return folder


def test_the_dataset_and_the_ledger_do_not_depend_on_the_parts(
    tmp_path: Path, source: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows_of_a_part, parts in ((1000, 1), (20, 3), (8, 7)):
        monkeypatch.setattr(partition, "ROWS", rows_of_a_part)
        home = tmp_path / str(parts)
        write_key(home / "run", "55" * 32)
        for name in ("scans", "reports.csv", "labels.csv"):
            (home / name).symlink_to(tmp_path / name)
        wanted = pipeline(home, scheduler, labels=str(home / "labels.csv"))
        wanted = wanted.model_copy(
            update={"ingest": wanted.ingest.model_copy(update={"source": (str(source),)})}
        )
        result = run(wanted)
        assert len(list((home / "run" / "ledger.parquet").iterdir())) == parts
        assert not (home / "run" / "partitions").exists()
        rows = ledger.read(home / "run" / "ledger.parquet")
        assert ledger.sums(rows) == ledger.sums_in(home / "run" / "ledger.parquet") == result.sums
        tables = [pq.read_table(home / "run" / f"{name}.parquet") for name in ("keys", "sentences")]
        found.append(
            (
                fingerprints(home / "dataset"),
                sorted(rows, key=lambda row: (row.path, row.frame)),
                tables,
                result.sums,
                (result.reports, result.labels),
            )
        )
    assert found[0] == found[1] == found[2]
    assert found[0][3].by_reason == {"INTENSITY_CONSTANT": 5, "NOT_DICOM": 5}
    assert found[0][4][0] == JoinCounts(rows=5, joined=5, surplus=0, missing=3)
    assert found[0][4][1] == JoinCounts(rows=8, joined=6, surplus=2, missing=2)


def test_parts_that_are_there_are_not_made_again(
    tmp_path: Path, source: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "ROWS", 20)
    wanted = pipeline(tmp_path, scheduler)
    run(wanted)
    folder, key = tmp_path / "run", pseudonyms.project_key(tmp_path / "run" / "project.key")
    with Workers(IngestSpeed(scheduler=scheduler)) as workers:

        def made(pipeline: object = wanted) -> int:
            return planning.group_all(pipeline, key, workers, lambda *_: None).parts_made  # type: ignore[arg-type]

        assert made() == 0
        (folder / "scans.parquet" / "00001.parquet").unlink()
        assert made() == 1
        stale = folder / "ledger.parquet" / "00009.parquet"
        stale.write_bytes(b"of an earlier run")
        (folder / "keys.parquet" / "00001.parquet.partial").write_bytes(b"half")
        write_reports(tmp_path / "reports.csv", range(6))
        assert made() == 1  # of the study that has a report now
        assert not stale.exists()
        assert pq.read_table(folder / "keys.parquet").num_rows == 8
        rules = wanted.ingest.rules.model_copy(update={"min_slices": 5})
        other = wanted.ingest.model_copy(update={"rules": rules})
        assert made(wanted.model_copy(update={"ingest": other})) == 3


def test_input_and_output_errors_are_tried_again() -> None:
    left = [OSError(5, "the disk"), OSError(116, "the network")]

    def work(item: int) -> int:
        if left:
            raise left.pop()
        return item

    assert planning.tried(work, 7, retries=2) == 7
    left.append(OSError(5, "the disk"))
    with pytest.raises(OSError, match="the disk"):
        planning.tried(work, 7, retries=0)


def test_tasks_come_back_as_they_were(
    tmp_path: Path, source: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest import prepare

    kept = []
    write = taskstore.write

    def keep(run: Path, part: int, tasks: list[object], facts: object) -> None:
        kept.extend(tasks)
        write(run, part, tasks, facts)  # type: ignore[arg-type]

    monkeypatch.setattr(partition, "ROWS", 20)
    monkeypatch.setattr(prepare.taskstore, "write", keep)
    run(pipeline(tmp_path, scheduler, labels=str(tmp_path / "labels.csv")))
    by_key = {task.key: task for task in kept}
    assert len(by_key) == 8
    assert any(task.labels for task in kept)
    assert any(task.report.text for task in kept)
    for keys in (sorted(by_key), sorted(by_key, reverse=True), sorted(by_key)[2:3]):
        assert list(taskstore.read(tmp_path / "run", 3, keys)) == [by_key[key] for key in keys]


def test_the_table_is_read_in_pieces_as_it_is_read_whole(
    tmp_path: Path, source: Path, scheduler: str
) -> None:
    run(pipeline(tmp_path, scheduler))
    file = tmp_path / "run" / "instances.parquet"
    pieces = [instance for rows in batches(file) for instance in instances_of(rows)]
    assert pieces == read(file)
    assert len(pieces) == num_rows(file) > 40
