"""Instances of a study -> volumes to read, and a status for every image. Pure; independent of order
and file names.

In: all `Instance`s of one StudyInstanceUID. Out: `ScanPlan`s, and one ledger row an image. Steps:
rules and selection say which images may take part; copies are set aside; `stacks` says which could
be one stack, `split` which are one volume, `scanplan` how it is read. Every image that goes in
comes out used, duplicate, or rejected with a reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from ingest import duplicates
from ingest import rules as admission
from ingest.ledger import LedgerRow, row_for
from ingest.scanplan import plan_volume
from ingest.selection import selected
from ingest.split import Part, split, stack_of
from ingest.stacks import Images, clusters, is_localizer
from study.ingest_sections import Rules, Select
from study.records import Instance, Reason, ScanPlan, Status


@dataclass(frozen=True)
class Grouping:
    """Everything known about a study before its pixels are read."""

    plans: tuple[ScanPlan, ...]
    rows: tuple[LedgerRow, ...]


def group_study(instances: Sequence[Instance], select: Select, rules: Rules) -> Grouping:
    """Group one study. Every instance ends in exactly one ledger row; plans are in the order of
    series, acquisition."""
    images = sorted(instances, key=_identity)
    if _has_two_patients(images):
        mismatch = (row_for(i, Status.REJECTED, Reason.PATIENT_MISMATCH) for i in images)
        return Grouping((), tuple(sorted(mismatch, key=_place)))
    rows: list[LedgerRow] = []
    admitted: Images = []
    for image in images:
        verdict = admission.judge(image, rules) or selected(image, select)
        if verdict:
            rows.append(row_for(image, Status.REJECTED, *verdict))
        else:
            admitted.append(image)
    unique = duplicates.without_repeated_uids(admitted, rows)
    by_series: dict[str, list[Images]] = defaultdict(list)
    for cluster in clusters(unique):
        by_series[cluster[0].series_uid].append(cluster)
    volumes: list[tuple[ScanPlan, Images]] = []
    for series in by_series.values():
        if is_localizer(series):
            detail = "few slices in several orientations"
            rows.extend(
                row_for(i, Status.REJECTED, Reason.LOCALIZER, detail) for c in series for i in c
            )
            continue
        for cluster in series:
            volumes.extend(_volumes(cluster, rules, rows))
    plans, used = _ranked(volumes)
    return Grouping(plans, tuple(sorted([*rows, *used], key=_place)))


def _has_two_patients(images: Images) -> bool:
    """True when usable images name different patients. A missing PatientID or issuer names
    nobody."""
    keys = {i.patient_key for i in images if i.reason is None}
    issuers, ids = (
        (
            {part.strip().casefold() for part in parts} - {""}
            for parts in zip(*(k.rpartition("|")[::2] for k in keys), strict=True)
        )
        if keys
        else (set(), set())
    )
    return len(ids) > 1 or len(issuers) > 1


def _volumes(cluster: Images, rules: Rules, rows: list[LedgerRow]) -> list[tuple[ScanPlan, Images]]:
    """Volumes of a cluster, with their images; all others get rows."""
    if not cluster[0].mosaic_tiles:
        placed = stack_of(cluster)
        numbers = dict(zip(placed.order, placed.position_numbers, strict=True))
        at = [numbers[n] for n in range(len(cluster))]
        cluster = duplicates.without_copies_in_place(cluster, at, rows)
    parts = split(cluster)
    kept = duplicates.without_copied_volumes([_along_normal(p) for p in parts], rows)
    by = {id(image): part.by for part in parts for image in part.images}
    found: list[tuple[ScanPlan, Images]] = []
    for images in kept:
        plan = plan_volume(Part(images, by[id(images[0])] if len(kept) > 1 else ""), rules)
        if isinstance(plan, ScanPlan):
            found.append((plan, images))
        else:
            rows.extend(row_for(i, Status.REJECTED, *plan) for i in images)
    return _few_enough(found, rules.max_volumes_per_series, rows)


def _along_normal(part: Part) -> Images:
    if part.images[0].mosaic_tiles:
        return part.images
    return [part.images[n] for n in stack_of(part.images).order]


def _few_enough(
    volumes: list[tuple[ScanPlan, Images]], most: int, rows: list[LedgerRow]
) -> list[tuple[ScanPlan, Images]]:
    """At most so many volumes of a 4D series, evenly chosen; the others are accounted for."""
    kept = set(evenly(len(volumes), most))
    for index, (_, images) in enumerate(volumes):
        if index not in kept:
            detail = f"volume {index + 1} of {len(volumes)}"
            rows.extend(
                row_for(i, Status.REJECTED, Reason.REDUNDANT_TIMEPOINT, detail) for i in images
            )
    return [volume for index, volume in enumerate(volumes) if index in kept]


def _ranked(
    volumes: list[tuple[ScanPlan, Images]],
) -> tuple[tuple[ScanPlan, ...], list[LedgerRow]]:
    """Plans in their final order and numbers, and the rows of the images that they use."""
    ranked = sorted(range(len(volumes)), key=lambda n: (_plan_rank(volumes[n][0]), n))
    counts: dict[str, int] = defaultdict(int)
    plans, rows = [], []
    for scan, n in enumerate(ranked):
        plan, images = volumes[n]
        plans.append(replace(plan, index=counts[plan.series_uid]))
        counts[plan.series_uid] += 1
        rows.extend(_used_rows(plan, images, scan))
    return tuple(plans), rows


def evenly(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` things, evenly spaced from the first.

    >>> evenly(10, 2), evenly(3, 5)
    ([0, 5], [0, 1, 2])
    """
    return list(range(count)) if count <= wanted else [i * count // wanted for i in range(wanted)]


def _identity(image: Instance) -> tuple[Hashable, ...]:
    """Sort key that does not depend on file names except between equal images."""
    return (
        image.series_uid,
        image.instance_number or 0,
        image.sop_uid,
        image.frame,
        image.pixel_digest,
        image.path,
    )


def _plan_rank(plan: ScanPlan) -> tuple[Hashable, ...]:
    return (
        plan.series_number if plan.series_number is not None else 1 << 31,
        plan.acquisition_number if plan.acquisition_number is not None else 1 << 31,
        plan.series_uid,
    )


def _used_rows(plan: ScanPlan, images: Images, scan: int) -> list[LedgerRow]:
    number = {(s.path, s.frame): n for n, s in reversed(list(enumerate(plan.slices)))}
    return [
        replace(row_for(i, Status.USED), scan=scan, slice=number[(i.path, i.frame)]) for i in images
    ]


def _place(row: LedgerRow) -> tuple[str, int]:
    return row.path, row.frame
