"""What becomes of every row of reports and labels, whatever it says and whosever it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import known_studies, report_join
from ingest.known_studies import Finder, Known
from ingest.report_files import Key
from ingest.report_join import Dealt, Joined, Outcome, RowStatus, labels_together, texts_together
from ingest.reports import Row

STUDIES = frozenset({"1.1", "1.2", "1.3"})


def known(*images: tuple[str, str, str], pieces: int = 1) -> Known:
    """Of (study UID, accession number, issuer|PatientID)."""
    finder = Finder()
    for n in range(pieces):
        some = images[n::pieces]
        columns = list(zip(*some, strict=True)) or [[], [], []]
        finder.add(
            pa.table(
                dict(zip(known_studies.COLUMNS, map(list, columns), strict=True)),
                schema=pa.schema([(name, pa.string()) for name in known_studies.COLUMNS]),
            )
        )
    return finder.known()


def joined(rows: Sequence[Dealt], several: str = "join") -> Joined:
    return report_join.join(rows, STUDIES, several, texts_together)


def row(study_uid: str, value: str, line: int = 1) -> Dealt:
    return Dealt(study_uid, "a.csv", line, study_uid, value)


def statuses(found: Joined) -> list[str]:
    return [str(outcome.status) for outcome in sorted(found.outcomes)]


rows_of_tables = st.lists(
    st.builds(
        Dealt,
        st.sampled_from(["", "1.1", "1.2", "1.3", "1.9"]),
        st.just("a.csv"),
        st.just(0),
        st.just("k"),
        st.sampled_from(["", "No bleed.", "A mass.", "No bleed. A mass."]),
    ),
    max_size=12,
).map(
    lambda rows: [
        r._replace(line=n, status="" if r.study_uid else RowStatus.BROKEN)
        for n, r in enumerate(rows)
    ]
)


@given(rows_of_tables, st.sampled_from(["join", "last", "reject"]))
def test_every_row_has_one_outcome_and_every_study_a_value_or_a_reason(
    rows: list[Dealt], several: str
) -> None:
    found = joined(rows, several)
    outcomes = report_join.with_missing(found, dict.fromkeys(STUDIES, True))
    missing = {o.study_uid for o in outcomes if o.status is RowStatus.MISSING}
    assert sorted(o.line for o in outcomes if o.status is not RowStatus.MISSING) == list(
        range(len(rows))
    )
    assert missing == STUDIES - found.values.keys()
    says = {o.study_uid for o in outcomes if o.status is RowStatus.JOINED}
    assert says == found.values.keys()
    assert all(value in found.values[r.study_uid] for r, value in _joined_rows(rows, outcomes))
    counts = report_join.counts(outcomes, len(STUDIES))
    assert counts.rows == len(rows)
    assert counts.joined + counts.missing == len(STUDIES)
    is_joined = sum(o.status is RowStatus.JOINED for o in outcomes)
    others = counts.surplus + counts.duplicate + counts.superseded + counts.ambiguous
    assert is_joined + others + counts.empty + counts.broken == len(rows)
    assert report_join.outcomes_of(report_join.outcomes_table(outcomes)) == outcomes


def _joined_rows(rows: list[Dealt], outcomes: list[Outcome]) -> list[tuple[Dealt, str]]:
    lines = {o.line for o in outcomes if o.status is RowStatus.JOINED}
    return [(r, r.value) for r in rows if r.line in lines]


@given(rows_of_tables, st.integers(1, 3))
def test_parts_give_what_the_whole_gives(rows: list[Dealt], parts: int) -> None:
    whole, sum_of_parts = joined(rows), Joined()
    for part in range(parts):
        ours = frozenset(s for s in STUDIES if int(s[-1]) % parts == part)
        some = [r for r in rows if int((r.study_uid or "0")[-1]) % parts == part]
        sum_of_parts.add(report_join.join(some, ours, "join", texts_together))
    assert sum_of_parts.values == whole.values
    assert sorted(sum_of_parts.outcomes) == sorted(whole.outcomes)


def test_addenda_are_joined_in_order_or_the_last_counts_or_none() -> None:
    rows = [
        row("1.1", "No bleed.", 1),
        row("1.2", "Normal.", 2),
        row("1.1", "Addendum: a mass.", 3),
        row("1.2", "Normal.", 4),
    ]
    found = joined(rows)
    assert found.values == {"1.1": "No bleed.\n\nAddendum: a mass.", "1.2": "Normal."}
    assert statuses(found) == ["joined", "joined", "joined", "duplicate"]
    found = joined(rows, "last")
    assert found.values == {"1.1": "Addendum: a mass.", "1.2": "Normal."}
    assert statuses(found) == ["superseded", "duplicate", "joined", "joined"]
    found = joined(rows, "reject")
    assert found.values == {"1.2": "Normal."}
    assert statuses(found) == ["ambiguous", "joined", "ambiguous", "duplicate"]


def test_a_report_that_repeats_the_first_stands_for_both() -> None:
    found = joined([row("1.1", "No bleed.", 1), row("1.1", "No bleed. Addendum: a mass.", 2)])
    assert found.values == {"1.1": "No bleed. Addendum: a mass."}
    assert statuses(found) == ["superseded", "joined"]


def test_labels_that_contradict_each_other_are_none() -> None:
    def labels(**values: float) -> str:
        return json.dumps(values)

    rows = [
        row("1.1", labels(mass=1, bleed=0), 1),
        row("1.1", labels(mass=1, cyst=1), 2),
        row("1.2", labels(mass=1), 3),
        row("1.2", labels(mass=0), 4),
    ]
    found = report_join.join(rows, STUDIES, "join", labels_together)
    assert {uid: json.loads(value) for uid, value in found.values.items()} == {
        "1.1": {"mass": 1, "bleed": 0, "cyst": 1}
    }
    assert statuses(found) == ["joined", "joined", "ambiguous", "ambiguous"]


def test_why_a_study_is_without_a_report() -> None:
    rows = [row("1.1", "", 1), row("1.2", "Signed by A.", 2)]
    found = report_join.with_missing(joined(rows), {"1.1": False, "1.2": False, "1.3": False})
    reasons = {o.study_uid: o.reason for o in found if o.status is RowStatus.MISSING}
    assert reasons == {
        "1.1": "its rows are empty",
        "1.2": "its text holds no finding",
        "1.3": "no row",
    }


IMAGES = (
    ("1.1", "A1", "H|P1"),
    ("1.2", "A1", "K|P1"),
    ("1.3", "A1", "H|P2"),
    ("1.4", "A2", "|P1"),
    ("1.5", "A2", "|P1"),
    ("1.6", "", "|P1"),
    ("1.7", "A3", "|"),
    ("", "A9", "|P1"),
    ("1.4", "A2", "|P1"),
)


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_accession_numbers_of_a_patient(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_studies, "MERGE_ROWS", 2)
    found = known(*IMAGES, pieces=pieces)
    assert [found.has(f"1.{n}") for n in range(9)] == [False, *[True] * 7, False]
    assert found.studies_of(Key("", "A1", "P1", "H")) == ["1.1"]
    assert found.studies_of(Key("", "A1", "P1")) == ["1.1", "1.2"]
    assert found.studies_of(Key("", "A1", "P2")) == ["1.3"]
    assert found.studies_of(Key("", "A2", "P1")) == ["1.4", "1.5"]
    assert found.studies_of(Key("", "A9", "P1")) == []
    assert found.studies_of(Key("", "A3", "")) == []
    assert known().studies_of(Key("", "A1", "P1")) == []


def test_rows_find_their_studies() -> None:
    keys = [Key("", "A1", "P2"), Key("", "A2", "P1"), Key("", "A7", "P1"), Key("1.6"), Key("2.9")]
    rows = [Row("a.csv", n, key, "text") for n, key in enumerate(keys)]
    rows.append(Row("a.csv", 9, Key(), fault="not JSON"))
    found = list(report_join.dealt(rows, known(*IMAGES)))
    assert [(d.study_uid, d.value, d.status) for d in found] == [
        ("1.3", "text", ""),
        ("", "", "ambiguous"),
        ("", "", "surplus"),
        ("1.6", "text", ""),
        ("2.9", "", ""),  # nothing of it is carried on; `join` says that it is surplus
        ("", "", "broken"),
    ]
    assert "2 studies" in found[1].reason
    assert report_join.from_table(report_join.to_table(found)) == found
    found = list(report_join.dealt(rows[4:5], known(*IMAGES)))
    assert statuses(joined(found)) == ["surplus"]


def test_names_that_are_no_text_can_be_listed() -> None:
    rows = [
        Row("/\udcff.txt", 0, Key("\udcff"), "text"),
        Row("/\udcff.png", 0, Key(), fault="'\udcff'"),
    ]
    found = list(report_join.dealt(rows, known(*IMAGES)))
    assert report_join.from_table(report_join.to_table(found)) == found
    assert [d.file for d in found] == ["/\\udcff.txt", "/\\udcff.png"]


def test_rows_without_a_study_are_spread() -> None:
    rows = [Dealt("", "a.csv", n, "", "", RowStatus.BROKEN) for n in range(64)]
    places = Counter(int(report_join.spread(r)[:2], 16) // 64 for r in rows)
    assert set(places) == {0, 1, 2, 3}
