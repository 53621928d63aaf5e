"""The table of a shard: what a person would filter by, for readers that know no dicom2clip."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from made_studies import AXIAL, key_of, study_of

from shards import allowed, layout, sidecar
from shards.store import store_at
from shards.writer import ShardWriter, finish_dataset
from study.errors import UserError
from study.records import Matrix, Reason, Study

SAGITTAL_SOURCE: Matrix = (
    (1.0, 0.0, 0.0, -80.0),
    (0.0, 0.0, 0.9, -120.0),
    (0.0, -0.9, 0.0, 120.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""(slice, row, column) -> LPS: slices go to the patient's left, rows down, columns to the back."""


def mixed_study() -> Study:
    """One CT volume in two windows, and an MR volume whose slices were acquired sagittally."""
    first, second = study_of(1).scans
    head = {"manufacturer": "SIEMENS", "body_part": "HEAD", "convolution_kernel": "H40s"}
    blood = replace(first, modality="CT", window="blood", flags=(), acquisition=head)
    t1 = {"manufacturer": "GE", "magnetic_field_t": 1.5, "echo_time_ms": 2.98}
    return replace(
        study_of(1),
        scans=(
            replace(blood, window="brain"),
            blood,
            replace(second, source_affine=SAGITTAL_SOURCE, acquisition=t1),
        ),
    )


def write(folder: Path) -> None:
    with ShardWriter(folder, 0, "none") as writer:
        writer.add(mixed_study())
        writer.reject(key_of(7), key_of(8), "train", Reason.NO_SCANS)
        writer.add(replace(study_of(2), scans=(), age_years=None))


def test_a_row_tells_what_one_would_filter_by(tmp_path: Path) -> None:
    write(tmp_path)
    row, rejected, empty = pq.read_table(tmp_path / "00000.parquet").to_pylist()
    assert (row["num_scans"], row["num_series"]) == (3, 2)
    assert row["modalities"] == ["CT", "MR"]
    assert (row["planes"], row["source_planes"]) == (["axial"], ["axial", "sagittal"])
    assert row["windows"] == ["blood", "brain", "percentile"]
    assert row["flags"] == ["GANTRY_TILT"]
    assert (row["manufacturers"], row["body_parts"]) == (["GE", "SIEMENS"], ["HEAD"])
    assert row["magnetic_fields_t"] == [1.5]
    assert [scan["source_plane"] for scan in row["scans"]] == ["axial", "axial", "sagittal"]
    assert row["scans"][0]["acquisition"]["convolution_kernel"] == "H40s"
    assert row["scans"][2]["acquisition"]["echo_time_ms"] == 2.98
    assert row["scans"][2]["acquisition"]["convolution_kernel"] is None
    assert (rejected["status"], rejected["reason"]) == ("rejected", "NO_SCANS")
    assert rejected["scans"] is None
    assert rejected["manufacturers"] is None
    assert (empty["status"], empty["scans"], empty["modalities"]) == ("used", [], [])


def test_no_text_of_a_report_is_in_it(tmp_path: Path) -> None:
    write(tmp_path)
    said = str(pq.read_table(tmp_path / "00000.parquet").to_pylist())
    assert "FINDINGS" not in said
    assert "midline" not in said


def test_every_fact_of_acquisition_is_a_column() -> None:
    scan = sidecar.SCHEMA.field("scans").type.value_type
    assert [field.name for field in scan.field("acquisition").type] == list(allowed.ACQUISITION)


def test_every_column_says_what_it_is(tmp_path: Path) -> None:
    write(tmp_path)
    for field in pq.read_schema(tmp_path / "00000.parquet"):
        assert len(field.metadata[b"description"]) > 3, field.name


def test_the_tables_of_a_dataset_are_one_table_to_arrow(tmp_path: Path) -> None:
    """As DuckDB, pandas or polars would read them: all files NNNNN.parquet together."""
    write(tmp_path)
    with ShardWriter(tmp_path, 1, "zstd") as writer:
        writer.add(study_of(3))
    finish_dataset(tmp_path, fingerprint="f", provenance={}, settings={})
    files = sorted(str(path) for path in tmp_path.glob("[0-9]*.parquet"))
    scans = pa.dataset.dataset(files).to_table(filter=pc.field("status") == "used")
    flat = pa.Table.from_struct_array(pc.list_flatten(scans["scans"].combine_chunks()))
    echo_ms = pc.struct_field(flat["acquisition"], "echo_time_ms")
    assert echo_ms.to_pylist() == [None, None, 2.98, 90.5, 90.5]


@pytest.mark.parametrize("at", [20, -20])
def test_a_damaged_table_is_told_of_with_what_mends_it(tmp_path: Path, at: int) -> None:
    write(tmp_path)
    path = tmp_path / "00000.parquet"
    data = bytearray(path.read_bytes())
    data[at : at + 12] = b"\xff" * 12
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"00000\.parquet cannot be read: .*verify.*repair"):
        sidecar.read(store_at(tmp_path), 0)


def test_a_column_that_a_table_lacks_is_null(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "00000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["source_planes"]), path)
    found = sidecar.read(store_at(tmp_path), 0)
    assert found.schema.names == sidecar.SCHEMA.names
    assert found["source_planes"].null_count == len(found) > 0


def test_tables_are_read_without_threads_of_arrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would hold the Python file as the program ends, and abort it (apache/arrow#33975)."""
    write(tmp_path)
    readers = set()
    with (tmp_path / "00000.parquet").open("rb") as stream:

        class Watched:
            closed = False

            def __getattr__(self, name: str) -> object:
                readers.add(threading.get_ident())
                return getattr(stream, name)

        monkeypatch.setattr(
            pq, "read_table", lambda *args, **kwargs: pytest.fail("read_table has threads")
        )
        sidecar.parsed(Watched())  # type: ignore[arg-type]
    assert readers == {threading.get_ident()}


@pytest.mark.parametrize("place", ["planes", "manufacturers", "flags"])
def test_a_table_refuses_words_that_are_not_on_the_list(place: str) -> None:
    row = sidecar.rejected_row(key_of(1), key_of(2), "train", Reason.NO_SCANS)
    with pytest.raises(ValueError, match=place):
        sidecar.table([{**row, place: ["St. Mary"]}])


@pytest.mark.parametrize(("turn", "plane"), [(0, "axial"), (1, "sagittal"), (2, "coronal")])
def test_the_plane_of_a_source(turn: int, plane: str) -> None:
    steps = np.roll(np.array(AXIAL)[:3, :3], turn, axis=0) + 0.05  # a little oblique
    affine = np.block([[steps, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    scan = replace(study_of(1).scans[0], source_affine=tuple(map(tuple, affine.tolist())))
    meta = layout.study_to_json(replace(study_of(1), scans=(scan,)))
    assert sidecar.used_row(meta, [])["source_planes"] == [plane]
