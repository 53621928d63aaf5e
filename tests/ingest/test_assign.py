"""Who goes into which shard: nothing written is touched, what changed goes behind, a kill is no
matter."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from ingest import assign
from ingest.assign import NOTHING, Assignment, Places
from shards.commit import REPAIRED

MARK, PER_SHARD = "settings", 3
Studies = dict[str, int]
"""Name -> version."""


def text(*what: object) -> bytes:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32].encode()


def plan(studies: Studies, before: Places, done: dict[int, str]) -> Assignment:
    pairs = sorted((text(name), text(name, version)) for name, version in studies.items())
    keys = np.array([key for key, _ in pairs], assign.TEXT)
    digests = np.array([digest for _, digest in pairs], assign.TEXT)
    return assign.assign(keys, digests, before, done, PER_SHARD, MARK)


def commit(found: Assignment, done: dict[int, str]) -> dict[int, str]:
    return {**done, **{task.shard: task.content for task in found.missing}}


def versions(found: Places) -> dict[bytes, bytes]:
    """The present version of every study: the last row of its key."""
    return dict(zip(found.keys.tolist(), found.digests.tolist(), strict=True))


studies = st.dictionaries(st.sampled_from("abcdefghijklm"), st.integers(0, 2), min_size=1)


@given(st.lists(studies, min_size=1, max_size=5), st.data())
def test_any_history(history: list[Studies], data: st.DataObject) -> None:
    book, done = NOTHING, dict[int, str]()
    for now in history:
        found = plan(now, book, done)
        assert not done.keys() & {task.shard for task in found.missing}
        present = versions(found.places)
        assert all(present[text(n)] == text(n, v) for n, v in now.items())
        assert sum(len(task.keys) for task in found.missing) <= len(now)
        if data.draw(st.booleans(), label="killed"):
            some = data.draw(st.sets(st.sampled_from([t.shard for t in found.missing] or [0])))
            part = {t.shard: t.content for t in found.missing if t.shard in some}
            again = plan(now, found.places, {**done, **part})
            assert commit(again, {**done, **part}) == commit(found, done)
            found = again
            done |= part
        book, done = found.places, commit(found, done)
        settled = plan(now, book, done)
        assert not settled.missing
        assert settled.settled == done.keys()
        assert versions(settled.places) == versions(book)


def test_shards_are_filled_in_the_order_of_keys() -> None:
    found = plan(dict.fromkeys("abcdefgh", 0), NOTHING, {})
    keys = [key for task in found.missing for key in task.keys]
    assert keys == sorted(text(name).decode() for name in "abcdefgh")
    assert [(task.shard, len(task.keys)) for task in found.missing] == [(0, 3), (1, 3), (2, 2)]


def test_a_change_supersedes_and_no_more() -> None:
    first = plan(dict.fromkeys("abcdefgh", 0), NOTHING, {})
    done = commit(first, {})
    second = plan({**dict.fromkeys("abcdefgh", 0), "c": 1, "z": 0}, first.places, done)
    assert [task.shard for task in second.missing] == [3]
    assert set(second.missing[0].keys) == {text("c").decode(), text("z").decode()}
    assert (second.changed, second.settled) == (1, {0, 1, 2})
    vanished = plan({"z": 0, "c": 1}, second.places, commit(second, done))
    assert not vanished.missing


def test_a_change_back_to_an_older_version_is_a_change() -> None:
    book, done = NOTHING, dict[int, str]()
    for version, shard in ((0, 0), (1, 1), (0, 2)):
        found = plan({"a": version}, book, done)
        assert [task.shard for task in found.missing] == [shard]
        book, done = found.places, commit(found, done)


def test_a_shard_that_was_not_written_yet_takes_its_studies_as_they_are_now() -> None:
    first = plan(dict.fromkeys("abcdef", 0), NOTHING, {})
    gone, changed = (
        next(n for n in "abcdef" if text(n).decode() == key) for key in first.missing[1].keys[:2]
    )
    now = {n: int(n == changed) for n in "abcdef" if n != gone}
    found = plan(now, first.places, {0: first.missing[0].content})
    assert [(task.shard, len(task.keys)) for task in found.missing] == [(1, 2)]
    assert found.changed == 0


def test_a_repaired_shard_is_made_again_where_all_of_it_is_there() -> None:
    first = plan(dict.fromkeys("abcdef", 0), NOTHING, {})
    done = {**commit(first, {}), 1: REPAIRED}
    again = plan(dict.fromkeys("abcdef", 0), first.places, done)
    assert again.missing == first.missing[1:]
    gone = next(n for n in "abcdef" if text(n).decode() == first.missing[1].keys[0])
    less = plan({n: 0 for n in "abcdef" if n != gone}, first.places, done)
    assert [(task.shard, task.keys) for task in less.missing] == [(2, first.missing[1].keys[1:])]
    assert not plan({n: 0 for n in "abcdef" if n != gone}, less.places, commit(less, done)).missing


def test_a_repaired_shard_is_made_without_what_is_superseded() -> None:
    first = plan(dict.fromkeys("abc", 0), NOTHING, {})
    now = {**dict.fromkeys("abc", 0), "b": 1}
    second = plan(now, first.places, commit(first, {}))
    again = plan(now, second.places, {**commit(second, commit(first, {})), 0: REPAIRED})
    assert [task.shard for task in again.missing] == [0]
    assert set(again.missing[0].keys) == {text("a").decode(), text("c").decode()}
    assert versions(again.places) == versions(second.places)


def test_numbers_that_are_taken_are_not_given_again() -> None:
    found = plan({"a": 0}, NOTHING, {0: "of a book that was lost", 4: "another"})
    assert [task.shard for task in found.missing] == [5]


def test_a_shard_that_is_not_what_the_book_says_stays() -> None:
    first = plan(dict.fromkeys("abcdef", 0), NOTHING, {})
    found = plan(dict.fromkeys("abcdef", 0), first.places, {**commit(first, {}), 0: "other"})
    assert [(task.shard, task.keys) for task in found.missing] == [(2, first.missing[0].keys)]


def test_the_book_is_kept_and_an_older_one_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "plan.parquet"
    assert not len(assign.read(file))
    first = plan(dict.fromkeys("abcdef", 0), NOTHING, {})
    assign.write(file, first.places)
    assert file.stat().st_mode & 0o777 == 0o600
    kept = assign.read(file)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(vars(kept).values(), vars(first.places).values(), strict=True)
    )
    pq.write_table(pq.read_table(file).drop_columns("digest"), file)
    done = commit(first, {})
    same = plan(dict.fromkeys("abcdef", 0), assign.read(file), done)
    assert not same.missing
    changed = plan({**dict.fromkeys("abcdef", 0), "a": 1}, assign.read(file), done)
    assert [task.shard for task in changed.missing] == [2]
    assert text("a").decode() in changed.missing[0].keys


def test_nothing_at_all() -> None:
    found = assign.assign(NOTHING.keys, NOTHING.digests, NOTHING, {}, PER_SHARD, MARK)
    assert (len(found.places), found.missing, found.settled) == (0, (), frozenset())
    assert pa.array(found.places.keys).type == pa.binary()
