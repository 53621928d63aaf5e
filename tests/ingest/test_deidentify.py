"""Pseudonyms, the project key, splits; facts, settings and label names on the allow-list."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import allowlist, deidentify
from shards import allowed
from study import pseudonyms
from study.errors import UserError
from study.records import Instance

KEY, OTHER_KEY = bytes(32), bytes([1]) * 32


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "run" / "project.key"
    key = pseudonyms.project_key(file)
    assert pseudonyms.project_key(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    file.write_text("not a key")
    with pytest.raises(UserError, match="is not a project key"):
        pseudonyms.project_key(file)


def test_a_key_that_others_can_read_is_closed_with_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "project.key"
    file.write_text("11" * 32)
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="readable by others"):
        assert pseudonyms.project_key(file) == bytes.fromhex("11" * 32)
    assert file.stat().st_mode & 0o777 == 0o600


def test_pseudonyms_differ_by_key_and_kind_and_are_stable() -> None:
    name = pseudonyms.pseudonym(KEY, "study", "1.2.3")
    assert name == pseudonyms.pseudonym(KEY, "study", "1.2.3")
    assert name != pseudonyms.pseudonym(OTHER_KEY, "study", "1.2.3")
    assert name != pseudonyms.pseudonym(KEY, "patient", "1.2.3")
    assert len(name) == 32
    assert pseudonyms.key_fingerprint(KEY) != pseudonyms.key_fingerprint(OTHER_KEY)


def test_a_patient_is_issuer_and_id_and_a_study_without_an_id_is_alone() -> None:
    def patient(*keys: str, study: str = "1.2") -> str:
        return deidentify.patient_of(KEY, [Instance("x", patient_key=k) for k in keys], study)

    assert patient("A|1", study="1.2") == patient("A|1", study="1.3")
    assert patient("A|1") != patient("B|1")
    assert patient("|1") != patient("A|1")
    assert patient("A|", study="1.2") != patient("A|", study="1.3")
    assert patient("", study="1.2") != patient("", study="1.3")
    assert patient("A|", "A|7") == patient("A|7", study="9")
    assert patient("|1.2", study="9.9") != patient("", study="1.2")


def test_splits_come_near_to_their_fractions() -> None:
    patients = [pseudonyms.pseudonym(KEY, "patient", str(n)) for n in range(4000)]
    splits = [pseudonyms.split_of(p, 0.1, 0.2) for p in patients]
    assert abs(splits.count("test") / 4000 - 0.2) < 0.03
    assert abs(splits.count("valid") / 4000 - 0.1) < 0.03


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), min_size=1, max_size=30))
def test_splits_follow_the_patient_alone(studies: list[tuple[int, int]]) -> None:
    splits: dict[str, set[str]] = {}
    for patient, study in studies:
        images = [Instance("x", patient_key=f"|{patient}")]
        name = deidentify.patient_of(KEY, images, str(study))
        splits.setdefault(name, set()).add(pseudonyms.split_of(name, 0.3, 0.3))
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize(("text", "years"), [("034Y", 34), ("090Y", 90), ("103Y", 90), ("018M", 1)])
def test_ages_over_89_are_90(text: str, years: int) -> None:
    assert deidentify.age_years(text) == years


@pytest.mark.parametrize("text", ["CANARY7", "34", "034Y CANARY", "", "1034Y", "034y"])
def test_an_age_of_another_form_is_left_out(text: str) -> None:
    assert deidentify.age_years(text) is None


@pytest.mark.parametrize("text", ["CANARY", "m", "", "MALE", "F\\CANARY"])
def test_a_sex_of_another_form_is_left_out(text: str) -> None:
    assert deidentify.sex_code(text) == ""


# -------------------------------------------------------------------------------- allow-list


def test_only_what_looks_as_it_should_is_let_out() -> None:
    facts = allowlist.acquisition_facts(
        Instance(
            "x",
            manufacturer="SIEMENS Healthineers of John Doe",
            convolution_kernel="Br40d\\3",
            body_part="MR JOHN DOE",
            echo_time_ms=12.5,
            flip_angle_deg=4000.0,
        )
    )
    assert facts == {"manufacturer": "SIEMENS", "convolution_kernel": "Br40d", "echo_time_ms": 12.5}


CANARIES = {
    "manufacturer": "CANARYMAKER",
    "convolution_kernel": "CANARYKERNEL",
    "body_part": "CANARYPART",
    "modality": "CANARYMODALITY",
    "image_type": ("ORIGINAL", "CANARYTYPE"),
    "patient_age": "CANARYAGE",
    "patient_sex": "CANARYSEX",
    "series_description": "CANARYSERIES",
    "protocol_name": "CANARYPROTOCOL",
} | {
    name: 1234567.891
    for name, rule in allowed.ACQUISITION.items()
    if isinstance(rule, allowed.Range)
}


@pytest.mark.parametrize("name", list(CANARIES))
def test_a_canary_in_an_allowed_field_is_left_out_or_other(name: str) -> None:
    facts = allowlist.acquisition_facts(Instance("x", **{name: CANARIES[name]}))  # type: ignore[arg-type]
    text = json.dumps(facts)
    assert "CANARY" not in text
    assert "1234567" not in text
    assert facts["manufacturer"] == "OTHER"
    assert not list(allowed.misfits(facts, allowed.ACQUISITION))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_have_too_few_digits_for_an_identifier(value: float) -> None:
    facts = allowlist.acquisition_facts(Instance("x", repetition_time_ms=value))
    digits = [c for c in repr(facts.get("repetition_time_ms", 0)).split("e")[0] if c.isdigit()]
    assert len("".join(digits).strip("0")) <= allowed.SIGNIFICANT_DIGITS


@given(st.text(string.printable, max_size=20))
def test_words_are_of_an_enumeration_or_a_form(text: str) -> None:
    image = Instance("x", manufacturer=text, body_part=text, convolution_kernel=text)
    facts = allowlist.acquisition_facts(image)
    assert facts["manufacturer"] in allowed.MANUFACTURERS
    assert facts.get("body_part", "HEAD") in allowed.BODY_PARTS
    assert sum(c.isdigit() for c in str(facts.get("convolution_kernel", ""))) <= 2


def test_selectors_enter_a_dataset_as_keyed_hashes_only() -> None:
    settings = {
        "ingest": {
            "select": {
                "modalities": ["CT"],
                "body_parts": ["head", "CANARYPART"],
                "description_has": ["CANARYWORD"],
                "dates": ["20240101", "20241231"],
                "ages": [34, 35],
            },
            "grid": {"depth": 48, "depth_interpolation": "area"},
        },
        "shards": {"compression": "none"},
    }
    public = allowlist.public_settings(settings, KEY)
    shown = " ".join(text for text in _strings(public) if not text.startswith("keyed:"))
    assert not [secret for secret in ("CANARY", "2024") if secret in shown]
    assert public["ingest"]["grid"] == settings["ingest"]["grid"]
    assert public["ingest"]["select"]["modalities"] == ["CT"]
    assert public["ingest"]["select"]["body_parts"][0] == "head"
    assert not list(allowed.setting_misfits(public))
    assert list(allowed.setting_misfits({"x": "/data/DOE"}))
    assert allowlist.public_settings(settings, KEY) == public
    assert allowlist.public_settings(settings, OTHER_KEY) != public


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [s for item in value.values() for s in _strings(item)]
    if isinstance(value, list):
        return [s for item in value for s in _strings(item)]
    return [str(value)]


@pytest.mark.parametrize(
    "name",
    ["mass", "Lung nodule", "Arterial wall calcification", "nodule*right_lung", "T2/FLAIR (acute)"],
)
def test_label_names_are_words(name: str) -> None:
    assert allowlist.is_label_name(name)


@pytest.mark.parametrize(
    "name", ["", "1.2.840.113619.2.55", "MRN 1234567", "a\nb", "doe@example.org", "x" * 81, "{key}"]
)
def test_what_is_no_word_is_no_label_name(name: str) -> None:
    assert not allowlist.is_label_name(name)
