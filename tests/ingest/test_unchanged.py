"""What is read again when a tree is crawled again, and what is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crawl_runs import PACKERS, Run, everything, facts, pack_zip, tree
from dicom_files import make_series, save

from ingest import table
from ingest.header import broken_header
from ingest.place import Place
from study.ingest_sections import VolumeFiles
from study.records import Instance, Reason, Rejection


def test_nothing_is_read_twice(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    rows = run.crawl()
    assert reads.count("unpack a.tgz") == 1
    reads.clear()
    assert run.crawl() == rows
    assert reads == []


@pytest.mark.parametrize("name", PACKERS)
def test_a_changed_archive_is_read_again(tmp_path: Path, reads: list[str], name: str) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    before = run.crawl()
    folder = run.run / "unpacked"
    spools = set(folder.iterdir())
    reads.clear()
    PACKERS[name](tree(tmp_path / "more", 4), run.source / name)
    after = run.crawl()
    assert [r for r in reads if r.startswith("unpack")] == [f"unpack {name}"]
    assert len(after) == len(before) + 1
    assert len(set(folder.iterdir()) - spools) == len(spools - set(folder.iterdir())) > 0


def test_a_spool_that_is_gone_is_made_again(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    rows = facts(run.crawl(), "")
    for lost in ("one", "all"):
        reads.clear()
        if lost == "one":
            next(iter((run.run / "unpacked").glob("*.spool"))).unlink()
        else:
            shutil.rmtree(run.run / "unpacked")
        again = run.crawl()
        assert facts(again, "") == rows
        assert len([r for r in reads if r.startswith("unpack")]) == (1 if lost == "one" else 4)
        assert all(Path(row.stored_in or row.path).exists() for row in again)


def test_an_archive_is_unchanged_only_with_all_its_members(tmp_path: Path) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    rows = run.crawl()
    lost = next(r for r in rows if "!/" in r.path)
    table.write(run.run / "instances.parquet", [r for r in rows if r is not lost])
    assert facts(run.crawl(), "") == facts(rows, "")


def test_what_is_gone_is_forgotten_and_its_spool_removed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    run.crawl()
    (run.run / "unpacked" / ".x.spool.0123.tmp").write_bytes(b"left by a crash")
    for name in PACKERS:
        (run.source / name).unlink()
    assert not any("!/" in r.path for r in run.crawl())
    assert list((run.run / "unpacked").iterdir()) == []


def test_a_higher_limit_lets_an_archive_in(tmp_path: Path) -> None:
    run = Run(tmp_path, max_unpacked=1000)
    pack_zip(tree(tmp_path / "loose"), run.source / "a.zip")
    assert [r.reason for r in run.crawl()] == [Reason.TOO_LARGE]
    run.options["max_unpacked"] = 10**6
    assert len(run.crawl()) == 7


def test_other_volume_settings_read_volumes_again(tmp_path: Path, reads: list[str]) -> None:
    run = Run(tmp_path)
    everything(run, tmp_path)
    run.crawl()
    reads.clear()
    run.options["volume_files"] = VolumeFiles(modality="CT")
    rows = run.crawl()
    assert sorted(reads) == ["b.npz", "t1.nii.gz"]
    assert {r.modality for r in rows if r.file_format != "dicom"} == {"CT"}


def test_an_input_error_or_a_limit_is_tried_again_and_damage_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    save(make_series(np.zeros((4, 8, 8))), run.source)
    verdicts = {
        "0000.dcm": Rejection(Reason.UNREADABLE, "PermissionError"),
        "0001.dcm": Rejection(Reason.UNREADABLE, "ValueError: of pydicom"),
        "0002.dcm": Rejection(Reason.DECODE_TIMEOUT, "more than 120 s of CPU time"),
        "0003.dcm": Rejection(Reason.DECODE_CRASH, "SIGSEGV"),
    }

    def failing(place: Place) -> list[Instance]:
        return broken_header(place, verdicts[os.path.basename(place.path)])

    with monkeypatch.context() as patch:
        patch.setattr("ingest.crawl.read_ordinary", failing)
        assert [r.reason for r in run.crawl()] == [v.reason for v in verdicts.values()]
    found = [r.reason for r in run.crawl()]
    assert found == [None, Reason.UNREADABLE, None, Reason.DECODE_CRASH]


def test_a_table_of_other_facts_is_not_used(tmp_path: Path, reads: list[str]) -> None:
    """One that an older version wrote lacks facts, or has others under their names."""
    run = Run(tmp_path)
    tree(run.source)
    rows = run.crawl()
    file = run.run / "instances.parquet"
    written = pq.read_table(file)
    for other in (
        written.drop_columns(["component"]),
        written.append_column("colour", pa.array(["red"] * len(written))),
        written.replace_schema_metadata({"facts": "0"}),
    ):
        pq.write_table(other, file)
        reads.clear()
        assert run.crawl() == rows
        assert len(reads) == 7
    file.write_bytes(b"PAR1 cut off")
    assert run.crawl() == rows
