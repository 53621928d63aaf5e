"""Which images the user wants (`ingest.select` of the settings), one small function a criterion.

In: an `Instance` and the settings. Out: None where it is wanted, else a `Rejection` NOT_SELECTED
whose detail begins with the setting that said so. A criterion that is not set takes everything;
what a header lacks does not match a criterion that is set. To add one: a field in
`study.ingest_sections.Select`, a function here, and its place in `CRITERIA`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

from ingest.tags import IMAGE_CLASSES
from ingest.values import completed_years
from study.errors import UserError
from study.ingest_sections import Select
from study.records import Instance, Reason, Rejection


def modality(instance: Instance, select: Select) -> str:
    """What the image is by its SOP class; the Modality tag only where the class does not say."""
    found = IMAGE_CLASSES.get(instance.sop_class_uid, instance.modality)
    return "" if found in select.modalities else f"modalities: {found or 'not given'}"


def body_part(instance: Instance, select: Select) -> str:
    wanted = {part.upper() for part in select.body_parts}
    if not wanted or instance.body_part.upper() in wanted:
        return ""
    return f"body_parts: {instance.body_part or 'not given'}"


def description(instance: Instance, select: Select) -> str:
    names = (instance.study_description, instance.series_description, instance.protocol_name)
    text = " ".join(names).lower()
    if select.description_has and not any(w.lower() in text for w in select.description_has):
        return "description_has: none of its words"
    unwanted = next((w for w in select.description_lacks if w.lower() in text), None)
    return "" if unwanted is None else f"description_lacks: {unwanted}"


def age(instance: Instance, select: Select) -> str:
    if select.age_years is None:
        return ""
    low, high = select.age_years
    years = completed_years(instance.patient_age)
    if years is not None and (low is None or low <= years) and (high is None or years <= high):
        return ""
    return f"age_years: {instance.patient_age or 'not given'}"


def study_date(instance: Instance, select: Select) -> str:
    if select.study_dates is None:
        return ""
    first, last = select.study_dates
    day = _day(instance.study_date)
    if day is not None and (first is None or first <= day) and (last is None or day <= last):
        return ""
    return f"study_dates: {instance.study_date or 'not given'}"


def study_uid(instance: Instance, select: Select) -> str:
    assert not select.study_uids_file, "with_lists was not called"
    wanted = select.wanted_studies
    return "" if not wanted or instance.study_uid in wanted else "study_uids: not on the list"


def accession_number(instance: Instance, select: Select) -> str:
    assert not select.accession_numbers_file, "with_lists was not called"
    wanted = select.wanted_accessions
    if not wanted or instance.accession_number in wanted:
        return ""
    return f"accession_numbers: {'not on the list' if instance.accession_number else 'not given'}"


CRITERIA: tuple[Callable[[Instance, Select], str], ...] = (
    modality,
    study_uid,
    accession_number,
    study_date,
    age,
    body_part,
    description,
)
"""Each answers with nothing where the image is wanted, else with the setting and what was found."""


def selected(instance: Instance, select: Select) -> Rejection | None:
    """What the user does not want, as NOT_SELECTED with the first setting that said so."""
    for criterion in CRITERIA:
        if detail := criterion(instance, select):
            return Rejection(Reason.NOT_SELECTED, detail)
    return None


def with_lists(select: Select) -> Select:
    """The settings with what the two `..._file`s list put in the place of their names.

    Raises UserError for a file that cannot be read or lists nothing.
    """
    lists = {
        key: _listed(f"{key}_file", getattr(select, f"{key}_file"), getattr(select, key))
        for key in ("study_uids", "accession_numbers")
    }
    files = {f"{key}_file": "" for key in lists}
    return Select(**{**select.model_dump(), **lists, **files})


def _listed(key: str, file: str, inline: tuple[str, ...]) -> tuple[str, ...]:
    """`inline` and the lines of a file, one value a line; empty lines and # comments are left
    out."""
    if not file:
        return inline
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"ingest.select.{key}: cannot read {file}: {reason}") from None
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UserError(f"ingest.select.{key}: {file} lists nothing; give one value a line")
    return tuple(dict.fromkeys([*inline, *found]))


def _day(text: str) -> date | None:
    """StudyDate (DICOM PS3.5, VR DA: YYYYMMDD; ACR-NEMA wrote YYYY.MM.DD) as a date."""
    digits = text.strip().replace(".", "")
    if re.fullmatch(r"\d{8}", digits):
        with suppress(ValueError):
            return date.fromisoformat(digits)
    return None
