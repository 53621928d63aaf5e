from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.place import Place, open_range, place_of
from study.records import Instance, Slice

CONTENT = bytes(range(256)) * 4

moves = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 600)),
        st.tuples(st.just("set"), st.integers(0, 600)),
        st.tuples(st.just("current"), st.integers(-50, 300)),
        st.tuples(st.just("end"), st.integers(-300, 20)),
    ),
    max_size=12,
)


@given(start=st.integers(0, 1024), length=st.integers(0, 500), moves=moves)
def test_a_range_is_a_file_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, moves: list[tuple[str, int]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "content"
    if not file.exists():
        file.write_bytes(CONTENT)
    length = min(length, len(CONTENT) - start)
    model = io.BytesIO(CONTENT[start : start + length])
    with open_range(str(file), start, length) as stream:
        for what, number in moves:
            if what == "read":
                assert stream.read(number) == model.read(number)
            else:
                whence = {"set": 0, "current": 1, "end": 2}[what]
                goal = {"set": 0, "current": model.tell(), "end": length}[what] + number
                stream.seek(number, whence)
                model.seek(max(0, goal))
            assert stream.tell() == model.tell()


def test_buffered_readers_can_be_put_on_top(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    with open_range(str(tmp_path / "a"), 10, 300) as stream:
        assert io.BufferedReader(stream, 7).read() == CONTENT[10:310]  # type: ignore[type-var]


def test_instances_and_slices_say_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(CONTENT)
    with place_of(Instance(str(file))).open() as stream:
        assert stream.read() == CONTENT
    member = Slice("x.tar!/a", 0, stored_in=str(file), stored_at=5, num_bytes=20)
    with place_of(member).open() as stream:
        assert stream.read() == CONTENT[5:25]
    with pytest.raises(OSError, match="No such file"):
        place_of(Slice("x.tar!/a", 0, stored_in=str(tmp_path / "b"))).open()


def test_size_and_time_are_asked_for_where_they_are_not_known(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(CONTENT)
    place = Place("x.tar!/a", str(file), 5)
    facts = file.stat()
    measured = place._replace(num_bytes=len(CONTENT) - 5, mtime_ns=facts.st_mtime_ns)
    assert (place.measured(), place.size()) == (measured, len(CONTENT) - 5)
    file.unlink()
    assert measured.measured() == measured
    assert place._replace(num_bytes=7).size() == 7
    with pytest.raises(OSError, match="No such file"):
        place._replace(num_bytes=7).measured()
