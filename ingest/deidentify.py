"""Pseudonyms of a study's instances, age and sex as they may leave.

In: identifiers. Out: keyed hashes of them, and what follows from those. Which technical facts may
leave is in `allowlist`, what becomes of report text in `scrub`. Source: DICOM PS3.15 Annex E.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest.values import completed_years
from study.pseudonyms import pseudonym
from study.records import Instance, ScanPlan


def digest_of(key: bytes, plan: ScanPlan) -> str:
    """Keyed digest of the source instances of a scan."""
    return pseudonym(key, "scan", "\n".join(plan.sop_uids))


def patient_of(key: bytes, images: Sequence[Instance], study_uid: str) -> str:
    """Pseudonym of the patient: of issuer and PatientID. A study without a PatientID stands for
    itself."""
    known = [i.patient_key for i in images if i.patient_key.rpartition("|")[2]]
    if known:
        return pseudonym(key, "patient", known[0])
    return pseudonym(key, "patient of study", study_uid)


def age_years(text: str) -> int | None:
    """PatientAge in completed years; over 89 becomes 90.

    >>> age_years("034Y"), age_years("103Y"), age_years("018M"), age_years("old")
    (34, 90, 1, None)
    """
    years = completed_years(text)
    return None if years is None else min(years, 90)


def sex_code(text: str) -> str:
    """PatientSex as M, F or O; anything else is left out."""
    return text if text in ("M", "F", "O") else ""
