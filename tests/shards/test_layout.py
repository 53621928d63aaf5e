import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from made_studies import studies, study_of

from shards import layout
from study.records import Study


@settings(max_examples=40, deadline=None)
@given(studies())
def test_metadata_and_arrays_give_the_study_back(study: Study) -> None:
    text = layout.to_bytes(layout.study_to_json(study))
    again = layout.study_from_json(json.loads(text), [scan.array for scan in study.scans])
    assert again == study
    assert layout.to_bytes(layout.study_to_json(again)) == text
    assert text.isascii()


def test_numbers_of_numpy_are_taken() -> None:
    study = study_of(1)
    scan = replace(
        study.scans[0], window_limits=(np.float32(0), np.float64(2.5)), series_index=np.int64(3)
    )
    meta = layout.study_to_json(replace(study, scans=(scan,)))
    assert json.loads(layout.to_bytes(meta))["scans"][0]["window_limits"] == [0, 2.5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"age_years": 91},
        {"split": "training"},
        {"key": "a.b"},
        {"key": "../up"},
        {"key": "good\n"},
        {"labels": {"mass": float("nan")}},
        {"sex": "Jane Doe"},
    ],
)
def test_what_the_schema_does_not_allow_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        layout.study_to_json(replace(study_of(1), **wrong))  # type: ignore[arg-type]


def test_unknown_fields_and_versions_are_refused() -> None:
    study = study_of(1)
    arrays = [scan.array for scan in study.scans]
    meta = layout.study_to_json(study)
    with pytest.raises(ValueError, match="patient_name"):
        layout.study_from_json({**meta, "patient_name": "DOE"}, arrays)
    with pytest.raises(ValueError, match="schema version 2"):
        layout.study_from_json({**meta, "schema_version": 2}, arrays)
    with pytest.raises(ValueError, match="metadata says uint8"):
        layout.study_from_json(meta, [array[:2] for array in arrays])


def test_member_names() -> None:
    assert layout.scan_member("k", 3, "zstd") == "k.s03.npy.zst"
    assert layout.scan_member("k", 103, "none") == "k.s103.npy"
    assert layout.parse_member("k.json") == ("k", None)
    assert layout.parse_member("k.s103.npy") == ("k", 103)
    for wrong in ("k.txt", "k.json\n", "../k.json", "k.s1.npy", "a.b.json"):
        with pytest.raises(ValueError, match=re.escape(repr(wrong))):
            layout.parse_member(wrong)
    with pytest.raises(ValueError, match="key"):
        layout.check_key("k\n")
