"""A grouped study with its text and labels -> all that is needed to make its sample.

In: the images of a study, its grouping, its row of the reports and of the labels, the project key.
Out: a `StudyTask`: pseudonyms, planned volumes, scrubbed text, sentences. Which shard it goes to is
`assign`'s to say.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ingest import deidentify, offline, presidio_spans
from ingest.group import Grouping
from ingest.scrub import Scrubbed, scrubbed
from study import pseudonyms
from study.ingest_sections import Ingest
from study.records import Instance, Reason, Report, ScanPlan


@dataclass(frozen=True)
class StudyTask:
    """All that a worker needs to make one sample. It holds identifiers and stays within the run."""

    study_uid: str
    key: str
    patient: str
    split: str
    plans: tuple[ScanPlan, ...]
    digests: tuple[str, ...]
    """Keyed digest of the source instances of each plan."""
    report: Report = field(default_factory=Report)
    labels: Mapping[str, float] = field(default_factory=dict)
    age_years: int | None = None
    sex: str = ""
    scrubbed: Mapping[str, int] = field(default_factory=dict)
    """Spans cut out of the report, by kind; never what they were."""
    reason: Reason | None = None
    """Set when the study is rejected before its pixels are read."""

    @property
    def digest(self) -> str:
        """See `digest_of`."""
        return digest_of(
            self.digests,
            self.report,
            self.labels,
            (self.age_years, self.sex, self.patient, self.split),
            self.reason,
        )


def digest_of(
    scans: Sequence[str],
    report: Report,
    labels: Mapping[str, float],
    person: tuple[int | None, str, str, str],
    reason: Reason | None,
) -> str:
    """Of a sample: it changes when that would, by other slices, text, labels or patient. `person`
    has age, sex, pseudonym and split."""
    sentences = {variant: list(found) for variant, found in report.sentences.items()}
    facts = [list(scans), report.text, sentences, dict(labels), *person, str(reason)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def study_task(
    instances: Sequence[Instance],
    grouping: Grouping,
    key: bytes,
    settings: Ingest,
    report: str | None,
    labels: Mapping[str, float],
) -> StudyTask:
    """Join what is known of a study. `report` is None where the reports table has no row for it."""
    ordered = sorted(instances, key=lambda i: (i.series_uid, i.instance_number or 0, i.sop_uid))
    study_uid = instances[0].study_uid
    patient = deidentify.patient_of(key, ordered, study_uid)
    ages = [deidentify.age_years(i.patient_age) for i in ordered]
    identifying = sorted({v for i in instances for v in i.identifying})
    find = presidio_spans.finder(settings)
    clean = scrubbed(report, identifying, find) if report else Scrubbed("")
    text = clean.text.strip()
    sentences = tuple(offline.summarize(text)) if text else ()
    return StudyTask(
        study_uid=study_uid,
        key=pseudonyms.pseudonym(key, "study", study_uid),
        patient=patient,
        split=pseudonyms.split_of(patient, settings.valid_fraction, settings.test_fraction),
        plans=grouping.plans,
        digests=tuple(deidentify.digest_of(key, plan) for plan in grouping.plans),
        report=Report({offline.VARIANT: sentences} if sentences else {}, text),
        labels=dict(labels),
        age_years=next((age for age in ages if age is not None), None),
        sex=next((s for i in ordered if (s := deidentify.sex_code(i.patient_sex))), ""),
        scrubbed=clean.counts,
        reason=_early_reason(grouping, settings, bool(sentences)),
    )


def _early_reason(grouping: Grouping, settings: Ingest, has_sentences: bool) -> Reason | None:
    if not grouping.plans:
        reasons = Counter(row.reason for row in grouping.rows if row.reason)
        return (
            Reason.PATIENT_MISMATCH
            if set(reasons) == {Reason.PATIENT_MISMATCH}
            else Reason.NO_SCANS
        )
    if settings.without_report == "reject" and not has_sentences:
        return Reason.NO_REPORT
    return None
