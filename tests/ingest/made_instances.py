"""Instances for tests of grouping, without files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ingest import ledger
from ingest.group import Grouping, group_study
from study.ingest_sections import Rules, Select
from study.records import Instance

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
MR, CT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"


def image(number: int, z: float, **facts: object) -> Instance:
    """One axial MR image of 8 x 8 pixels of 1 mm, at height `z`."""
    base = Instance(
        path=f"/data/{number}",
        study_uid="1.2",
        series_uid="1.2.3",
        sop_uid=f"1.2.3.{number}",
        sop_class_uid=MR,
        patient_key="|P",
        modality="MR",
        image_type=("ORIGINAL", "PRIMARY", "M"),
        instance_number=number,
        rows=8,
        columns=8,
        photometric="MONOCHROME2",
        position_mm=(0.0, 0.0, z),
        orientation=AXIAL,
        pixel_spacing_mm=(1.0, 1.0),
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def series(zs: list[float], first: int = 0, **facts: object) -> list[Instance]:
    return [image(first + n, z, **facts) for n, z in enumerate(zs)]


def volumes(slices: int, facts: list[dict[str, Any]], **common: Any) -> list[Instance]:
    """A volume of so many slices, 3 mm apart, for each of `facts`, numbered through."""
    return [
        image(v * slices + n, 3.0 * n, **{**common, **differing})
        for v, differing in enumerate(facts)
        for n in range(slices)
    ]


def group(images: list[Instance], **rules: object) -> Grouping:
    """Group a study and check that its ledger adds up."""
    grouping = group_study(images, Select(), Rules(**rules))  # type: ignore[arg-type]
    ledger.check(grouping.rows, images)
    return grouping


def reasons(grouping: Grouping) -> dict[str, int]:
    return dict(ledger.sums(grouping.rows).by_reason)
