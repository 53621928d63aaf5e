from __future__ import annotations

from pathlib import Path

import pytest

from ingest import deidentify
from study.errors import UserError
from study.records import Instance


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "run" / "project.key"
    key = deidentify.project_key(file)
    assert deidentify.project_key(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("not a key")
    with pytest.raises(UserError, match="is not a project key"):
        deidentify.project_key(file)


def test_pseudonyms_differ_by_key_and_kind_and_are_stable() -> None:
    one, other = bytes(32), bytes([1]) * 32
    name = deidentify.pseudonym(one, "study", "1.2.3")
    assert name == deidentify.pseudonym(one, "study", "1.2.3")
    assert name != deidentify.pseudonym(other, "study", "1.2.3")
    assert name != deidentify.pseudonym(one, "patient", "1.2.3")
    assert len(name) == 32


def test_splits_come_near_to_their_fractions() -> None:
    patients = [deidentify.pseudonym(bytes(32), "patient", str(n)) for n in range(4000)]
    splits = [deidentify.split_of(p, 0.1, 0.2) for p in patients]
    assert abs(splits.count("test") / 4000 - 0.2) < 0.03
    assert abs(splits.count("valid") / 4000 - 0.1) < 0.03


def test_only_what_looks_as_it_should_is_let_out() -> None:
    facts = deidentify.acquisition_facts(
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


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("Compared to 03/14/2021, stable.", "03/14/2021"),
        ("MRI of March 3, 2020 at 14:35.", "March 3, 2020"),
        ("Called Dr. Jane Miller at (555) 123-4567.", "Miller"),
        ("MRN: AB12345, accession number 998877.", "AB12345"),
        ("Mrs. Doe fell.", "Doe"),
        ("The 94-year-old woman.", "94"),
        ("Seen in March 2021.", "March 2021"),
        ("As on 12-Mar-2021.", "12-Mar-2021"),
        ("Compared with the study on 12/03.", "12/03"),
        ("Called Ms. de Vries.", "Vries"),
        ("jane doe, as known.", "jane"),
    ],
)
def test_scrubbing(text: str, gone: str) -> None:
    assert gone not in deidentify.scrub(text, ["Doe^Jane", "AB12345"])


def test_scrubbing_keeps_sizes() -> None:
    text = "A 3.5 x 2.1 cm mass at L4-5, 12 mm, grade II."
    assert deidentify.scrub(text, ["Doe^Jane", "P1"]) == text
