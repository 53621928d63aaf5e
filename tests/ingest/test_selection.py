from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.selection import selected, with_lists
from study.config import load_pipeline
from study.errors import UserError
from study.ingest_sections import Select
from study.records import Instance, Reason

FULL = Instance(
    "/data/1",
    study_uid="1.2.3",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
    modality="MR",
    accession_number="00123",
    body_part="HEAD",
    study_description="Brain routine",
    series_description="AX T2 FLAIR",
    study_date="20200229",
    patient_age="045Y",
)


@pytest.mark.parametrize(
    ("settings", "facts", "setting"),
    [
        ({}, {}, None),
        ({"modalities": ["CT"]}, {}, "modalities: MR"),
        ({"modalities": ["MR"]}, {"modality": "OT"}, None),  # the SOP class says what it is
        ({"modalities": ["MR"]}, {"sop_class_uid": "", "modality": ""}, "modalities: not given"),
        ({"body_parts": ["Head", "BRAIN"]}, {"body_part": "head"}, None),
        ({"body_parts": ["CHEST"]}, {}, "body_parts: HEAD"),
        ({"body_parts": ["HEAD"]}, {"body_part": ""}, "body_parts: not given"),
        ({"description_has": ["flair", "dwi"]}, {}, None),
        ({"description_has": ["dwi"]}, {"protocol_name": "DWI b1000"}, None),
        ({"description_has": ["dwi"]}, {}, "description_has"),
        ({"description_lacks": ["routine"]}, {}, "description_lacks: routine"),
        ({"description_lacks": ["spine"]}, {"study_description": ""}, None),
        ({"age_years": [45, 45]}, {}, None),
        ({"age_years": [46, None]}, {}, "age_years: 045Y"),
        ({"age_years": [None, 44]}, {}, "age_years: 045Y"),
        ({"age_years": [0, 1]}, {"patient_age": "023M"}, None),
        ({"age_years": [0, 1]}, {"patient_age": "024M"}, "age_years: 024M"),
        ({"age_years": [0, 0]}, {"patient_age": "300D"}, None),
        ({"age_years": [95, None]}, {"patient_age": "097Y"}, None),
        ({"age_years": [0, 120]}, {"patient_age": ""}, "age_years: not given"),
        ({"age_years": [0, 120]}, {"patient_age": "forty"}, "age_years: forty"),
        ({"study_dates": ["2020-02-29", "2020-02-29"]}, {}, None),
        ({"study_dates": ["2020-03-01", None]}, {}, "study_dates: 20200229"),
        ({"study_dates": [None, "20200228"]}, {}, "study_dates: 20200229"),
        ({"study_dates": [20200101, 20201231]}, {}, None),
        ({"study_dates": [None, "2020-12-31"]}, {"study_date": "2020.02.29"}, None),
        ({"study_dates": [None, "2020-12-31"]}, {"study_date": ""}, "study_dates: not given"),
        ({"study_dates": [None, "2020-12-31"]}, {"study_date": "20200230"}, "study_dates"),
        ({"study_uids": ["1.2.3"]}, {}, None),
        ({"study_uids": ["1.2"]}, {}, "study_uids: not on the list"),
        ({"accession_numbers": ["00123"]}, {}, None),
        ({"accession_numbers": ["123"]}, {}, "accession_numbers: not on the list"),
        ({"accession_numbers": ["123"]}, {"accession_number": ""}, "accession_numbers: not given"),
    ],
)
def test_criteria(settings: dict[str, Any], facts: dict[str, Any], setting: str | None) -> None:
    verdict = selected(replace(FULL, **facts), Select(**settings))
    if setting is None:
        assert verdict is None
    else:
        assert verdict is not None
        assert verdict.reason is Reason.NOT_SELECTED
        assert verdict.detail.startswith(setting)


@given(
    low=st.none() | st.integers(0, 120),
    high=st.none() | st.integers(0, 120),
    months=st.integers(0, 999),
)
def test_ages_are_compared_in_completed_years(
    low: int | None, high: int | None, months: int
) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    image = replace(FULL, patient_age=f"{months:03d}M")
    wanted = (low or 0) <= months // 12 <= (999 if high is None else high)
    assert (selected(image, Select(age_years=(low, high))) is None) == wanted


CONFIG = """\
p:
  dataset: d
  run: r
  ingest:
    select:
      {line}
  train: {{steps: 1}}
"""


def load(folder: Path, line: str) -> Select:
    file = folder / "pipelines.yaml"
    file.write_text(CONFIG.format(line=line))
    return load_pipeline(file, "p").ingest.select


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("age_years: [60, 18]", "line 6: ingest.select.age_years: from 60 to 18 is the wrong way"),
        ("age_years: [-1, 18]", "line 6: ingest.select.age_years"),
        ("study_dates: [2021-01-01, 2020-01-01]", "line 6: ingest.select.study_dates: from 2021"),
        ("study_dates: [last year, null]", "line 6: ingest.select.study_dates.0: not a date"),
        ("study_dates: [2020111, null]", "line 6: ingest.select.study_dates.0: not a date"),
        ("accession_numbers: [00123]", "line 6: ingest.select.accession_numbers.0"),
    ],
)
def test_bad_values_name_their_key(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        load(tmp_path, line)


def test_dates_as_yaml_reads_them(tmp_path: Path) -> None:
    forms = ("2020-02-01", '"2020-02-01"', "20200201", '"20200201"')
    first = {load(tmp_path, f"study_dates: [{form}, null]").study_dates for form in forms}
    assert len(first) == 1


def test_lists_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_bytes(
        b"\xef\xbb\xbf1.2.3\r\n\r\n# not this\r\n 1.2.4 \r\n1.2.9\n"
    )
    select = load(tmp_path, 'study_uids_file: wanted.txt\n      study_uids: ["1.2.9"]')
    assert select.study_uids_file == str(tmp_path / "wanted.txt")
    read = with_lists(select)
    assert read.study_uids == ("1.2.9", "1.2.3", "1.2.4")
    assert selected(FULL, read) is None
    assert selected(replace(FULL, study_uid="1.2.5"), read) is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"# nothing\n", "lists nothing"), (b"\xff\xfe1", "not UTF-8")],
)
def test_files_of_lists_that_are_no_use(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "list.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"ingest.select.accession_numbers_file: .*{message}"):
        with_lists(Select(accession_numbers_file=str(file)))


def test_settings_survive_being_written_and_read() -> None:
    before: Mapping[str, Any] = {
        "age_years": [18, None],
        "study_dates": [None, "2020-01-01"],
        "study_uids": ["1.2"],
    }
    select = Select(**before)
    assert Select(**select.model_dump(mode="json")) == select
