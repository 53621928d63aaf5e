from __future__ import annotations

from pathlib import Path

import pytest
from dicom_files import make_slice, save
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.header import read_header
from study.records import Reason


def test_facts_of_a_plain_slice(tmp_path: Path) -> None:
    dataset = make_slice(
        position=(1.5, -2.0, 3.25), EchoTime=12.5, InstanceNumber=7, SeriesNumber=3
    )
    [path] = save([dataset], tmp_path)
    [row] = read_header(str(path))
    assert row.reason is None
    assert row.position_mm == (1.5, -2.0, 3.25)
    assert (row.echo_time_ms, row.instance_number, row.series_number) == (12.5, 7, 3)
    assert (row.rows, row.columns, row.pixel_spacing_mm) == (8, 8, (1.0, 1.0))
    assert row.file_bytes == path.stat().st_size
    assert "Doe^Jane" in row.identifying


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.TRUNCATED),
        (b"hello, I am not DICOM at all", Reason.NOT_DICOM),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), Reason.NOT_DICOM),
        (bytes(128) + b"DICM", Reason.NOT_DICOM),
    ],
)
def test_what_is_not_dicom_becomes_a_row_with_a_reason(
    tmp_path: Path, content: bytes, reason: Reason
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    [row] = read_header(str(path))
    assert row.reason is reason


def test_missing_pixel_bytes_are_a_truncation(tmp_path: Path) -> None:
    [path] = save([make_slice()], tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    [row] = read_header(str(path))
    assert row.reason is Reason.TRUNCATED
    assert "10 bytes" in row.detail


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    [row] = read_header(str(tmp_path / "gone"))
    assert row.reason is Reason.UNREADABLE


def test_rounded_direction_cosines_become_unit_vectors(tmp_path: Path) -> None:
    rounded = (0.9986, 0.0523, 0.0, -0.0523, 0.9986, 0.0)
    [row] = read_header(str(save([make_slice(orientation=rounded)], tmp_path)[0]))
    assert row.orientation is not None
    assert sum(v * v for v in row.orientation[:3]) == pytest.approx(1, abs=1e-12)


def test_missing_uid(tmp_path: Path) -> None:
    dataset = make_slice()
    del dataset.SeriesInstanceUID
    [row] = read_header(str(save([dataset], tmp_path)[0]))
    assert row.reason is Reason.MISSING_UID


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_mutation_of_a_file_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Flipped bytes and cut ends give rows, never an exception."""
    folder = tmp_path_factory.mktemp("mutated")
    [path] = save([make_slice(EchoTime=3.0, SOPInstanceUID="1.2.3.4.5.6")], folder)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert len(read_header(str(path))) >= 1


def test_every_file_of_the_corpus_gives_rows(real_data: Path) -> None:
    for path in sorted((real_data / "dicom").rglob("*")):
        if path.is_file():
            rows = read_header(str(path))
            assert rows
            assert all(row.reason is not Reason.UNREADABLE for row in rows), path
