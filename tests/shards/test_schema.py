"""KEY.json against its JSON Schema, by a validator that knows nothing of dicom2clip."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import webdataset
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from made_studies import make_dataset, studies, study_of

from shards import allowed, layout, schema
from study.errors import UserError
from study.records import Study

SCHEMA = json.loads(schema.text())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_tracked_file_is_what_the_models_say() -> None:
    """To write it anew: python -m shards.schema"""
    assert json.loads(schema.TRACKED.read_bytes()) == schema.study_schema()
    assert schema.text().isascii()


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@settings(max_examples=40, deadline=None)
@given(studies())
def test_what_is_written_validates(study: Study) -> None:
    VALIDATOR.validate(json.loads(layout.to_bytes(layout.study_to_json(study))))


def test_every_sample_of_a_dataset_validates_against_the_copy_in_it(tmp_path: Path) -> None:
    make_dataset(tmp_path, compression="zstd")
    copied = json.loads((tmp_path / schema.SCHEMA_FILE).read_bytes())
    urls = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    seen = 0
    for sample in webdataset.WebDataset(urls, shardshuffle=False):
        Draft202012Validator(copied).validate(json.loads(sample["json"]))
        seen += 1
    assert seen == 6


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(meta: Any) -> None:
        for step in path[:-1]:
            meta = meta[step]
        meta[path[-1]] = to

    return change


def _without(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(meta: Any) -> None:
        for step in path[:-1]:
            meta = meta[step]
        del meta[path[-1]]

    return change


MUTATIONS = {
    "another version": _set("schema_version", to=2),
    "a key with a dot": _set("key", to="a.b"),
    "a key with a line feed": _set("key", to="good\n"),
    "an unknown split": _set("split", to="training"),
    "an age that identifies": _set("age_years", to=91),
    "half a year": _set("age_years", to=40.5),
    "a sex that is a name": _set("sex", to="Jane Doe"),
    "a label out of range": _set("labels", "mass", to=1.5),
    "a label named by a number": _set("labels", "MRN 123456", to=1.0),
    "a sentence that is a number": _set("report", "sentences", "offline", to=[1]),
    "a summariser with a space": _set("report", "sentences", to={"a b": []}),
    "no report": _without("report"),
    "no text": _without("report", "text"),
    "a name": _set("patient_name", to="DOE"),
    "no scans": _without("scans"),
    "a number as member": _set("scans", 0, "member", to="00"),
    "a shape of two": _set("scans", 0, "shape", to=[4, 6]),
    "an empty shape": _set("scans", 0, "shape", to=[0, 6, 5]),
    "an unknown dtype": _set("scans", 0, "dtype", to="int64"),
    "an oblique plane": _set("scans", 0, "plane", to="oblique"),
    "one limit": _set("scans", 0, "window_limits", to=[0.0]),
    "three rows": _set("scans", 0, "affine", to=[[0.0] * 4] * 3),
    "a position off the earth": _set("scans", 0, "affine", 0, 3, to=1e6),
    "a date as spacing": _set("scans", 0, "spacing_mm", 0, to="20260101"),
    "an unknown flag": _set("scans", 0, "flags", to=["TILT"]),
    "an operator": _set("scans", 0, "acquisition", "operator", to="Smith"),
    "a manufacturer's place": _set("scans", 0, "acquisition", "manufacturer", to="GE Berlin"),
    "an echo of an hour": _set("scans", 0, "acquisition", "echo_time_ms", to=3.6e6),
    "a UID as digest": _set("scans", 0, "digest", to="1.2.840.1"),
    "no digest": _without("scans", 0, "digest"),
}


@pytest.mark.parametrize("change", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_what_is_never_written_does_not_validate(change: Callable[[dict[str, Any]], None]) -> None:
    meta = json.loads(layout.to_bytes(layout.study_to_json(study_of(1))))
    assert VALIDATOR.is_valid(meta)
    mutated = copy.deepcopy(meta)
    change(mutated)
    assert not VALIDATOR.is_valid(mutated)


def test_every_rule_of_the_allow_list_is_in_it() -> None:
    said = json.dumps(SCHEMA)
    for path, rule in allowed.STUDY.items():
        if isinstance(rule, allowed.Range) and path != "schema_version":
            assert f'"minimum": {rule.low}, "maximum": {rule.high}' in said, path
        if isinstance(rule, allowed.Words):
            assert json.dumps(sorted(rule.words)) in said, path


def test_labels_in_any_alphabet_validate_in_any_validator() -> None:
    """ECMA-262's classes know ASCII alone, so that the pattern may not lean on them."""
    pattern = re.compile(SCHEMA["properties"]["labels"]["propertyNames"]["pattern"], re.ASCII)
    for name in ("mass", "Größe des Ödems", "脑出血", "T2/FLAIR (DWI), 3%"):
        assert pattern.search(name), name
        assert allowed.LABEL.fits(name), name
    for name in ("1mass", "case 12345", "mass\n", ""):
        assert not pattern.search(name), name


def test_a_newer_version_is_refused_saying_what_to_do() -> None:
    study = study_of(1)
    arrays = [scan.array for scan in study.scans]
    meta = layout.study_to_json(study)
    with pytest.raises(UserError, match="reads up to 1: use a newer dicom2clip"):
        layout.study_from_json({**meta, "schema_version": 2, "new_field": 1}, arrays)
    for wrong in (None, "1", 0, True, 1.0):
        with pytest.raises(ValueError, match="is not a number from 1"):
            layout.study_from_json({**meta, "schema_version": wrong}, arrays)
