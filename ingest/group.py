"""Instances of a study -> volumes to read, and a status for every image. Pure; independent of order
and file names.

In: all `Instance`s of one StudyInstanceUID. Out: `ScanPlan`s, and one ledger row an image. The
idea: geometry first. Images that agree in what makes a stack (series, size, orientation, ...) are
one volume if their positions are unique and evenly spaced. Only when positions repeat are they
split, by the first discriminator whose every part is a proper stack. Neither "always split on
AcquisitionNumber" nor "never" is right: contrast phases differ in nothing else, while some scanners
number every pair of slices anew (dcm2niix#721, docs/decisions/0002-grouping.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from ingest import rules as admission
from ingest.deidentify import acquisition_facts
from ingest.geometry import Stack, is_tilted, normal_of, same_direction, stack
from ingest.ledger import LedgerRow, row_for
from ingest.tags import IMAGE_CLASSES
from study.records import Instance, Reason, Rejection, ScanPlan, Slice, Status, Vector
from study.sections import Rules, Select

Images = list[Instance]


@dataclass(frozen=True)
class Grouping:
    """Everything known about a study before its pixels are read."""

    plans: tuple[ScanPlan, ...]
    rows: tuple[LedgerRow, ...]


def group_study(instances: Sequence[Instance], select: Select, rules: Rules) -> Grouping:
    """Group one study. Every instance ends in exactly one ledger row; plans are in the order of
    series, acquisition."""
    images = sorted(instances, key=_identity)
    rows: list[LedgerRow] = []
    if len({i.patient_key for i in images if i.reason is None}) > 1:
        return Grouping(
            (), tuple(row_for(i, Status.REJECTED, Reason.PATIENT_MISMATCH) for i in images)
        )

    admitted: Images = []
    for image in images:
        verdict = admission.judge(image, rules) or admission.selected(image, select)
        if verdict:
            rows.append(row_for(image, Status.REJECTED, *verdict))
        else:
            admitted.append(image)
    unique = _without_duplicates(admitted, rows)

    plans: list[ScanPlan] = []
    members: list[Images] = []
    for cluster in _clusters(unique):
        volumes: list[tuple[ScanPlan, Images]] = []
        for part in _split(cluster):
            volume = _plan(part, rules)
            if isinstance(volume, ScanPlan):
                volumes.append((volume, part))
            else:
                rows.extend(row_for(i, Status.REJECTED, *volume) for i in part)
        kept = set(evenly(len(volumes), rules.max_volumes_per_series))
        for index, (plan, part) in enumerate(volumes):
            if index in kept:
                plans.append(plan)
                members.append(part)
            else:
                detail = f"volume {index} of {len(volumes)}"
                rows.extend(
                    row_for(i, Status.REJECTED, Reason.REDUNDANT_TIMEPOINT, detail) for i in part
                )

    ranked = sorted(range(len(plans)), key=lambda n: (_plan_rank(plans[n]), n))
    counts: dict[str, int] = defaultdict(int)
    final = []
    for scan, n in enumerate(ranked):
        plan = replace(plans[n], index=counts[plans[n].series_uid])
        counts[plan.series_uid] += 1
        final.append(plan)
        rows.extend(_used_rows(plan, members[n], scan))
    return Grouping(tuple(final), tuple(sorted(rows, key=lambda r: (r.path, r.frame))))


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


def _without_duplicates(images: Images, rows: list[LedgerRow]) -> Images:
    """One image for every (SOPInstanceUID, frame). Same pixels: duplicates; other pixels: nobody
    knows which is right."""
    by_uid: dict[tuple[str, int], Images] = defaultdict(list)
    for image in images:
        by_uid[(image.sop_uid, image.frame)].append(image)
    unique = []
    for same in by_uid.values():
        if len({i.pixel_digest for i in same}) > 1:
            rows.extend(row_for(i, Status.REJECTED, Reason.SOP_UID_COLLISION) for i in same)
            continue
        unique.append(same[0])
        detail = f"of {same[0].path}"
        rows.extend(
            row_for(i, Status.DUPLICATE, Reason.DUPLICATE_INSTANCE, detail) for i in same[1:]
        )
    return unique


def repeated_uids(images: Iterable[Instance]) -> set[str]:
    """Paths of files whose SOPInstanceUID occurs in another file too: their pixels must be
    compared."""
    by_uid: dict[tuple[str, int], set[str]] = defaultdict(set)
    for image in images:
        if image.reason is None and image.has_pixels:
            by_uid[(image.sop_uid, image.frame)].add(image.path)
    return {path for paths in by_uid.values() if len(paths) > 1 for path in paths}


def _clusters(images: Images) -> list[Images]:
    """Images that could be one stack: equal in the tags that every slice of a stack shares, and in
    orientation."""
    by_key: dict[tuple[Hashable, ...], list[Images]] = defaultdict(list)
    for image in images:
        assert image.orientation is not None
        assert image.pixel_spacing_mm is not None
        key = (
            image.series_uid,
            IMAGE_CLASSES[image.sop_class_uid],
            image.rows,
            image.columns,
            image.mosaic_tiles,
            tuple(round(s, 4) for s in image.pixel_spacing_mm),
            image.frame_of_reference_uid,
            tuple(t.upper() for t in image.image_type[:3]),
        )
        for cluster in by_key[key]:
            first = cluster[0].orientation
            assert first is not None
            if same_direction(first, image.orientation):
                cluster.append(image)
                break
        else:
            by_key[key].append([image])
    return [cluster for clusters in by_key.values() for cluster in clusters]


# -------------------------------------------------------------------------------- splitting

DISCRIMINATORS: tuple[Callable[[Instance], Hashable], ...] = (
    lambda i: i.echo_time_ms,
    lambda i: i.image_type,
    lambda i: i.b_value_s_per_mm2,
    lambda i: i.diffusion_direction,
    lambda i: i.temporal_position,
    lambda i: i.inversion_time_ms,
    lambda i: i.flip_angle_deg,
    lambda i: i.trigger_time_ms,
    lambda i: i.acquisition_number,
    lambda i: i.convolution_kernel,
    lambda i: i.kvp_kv,
    lambda i: i.slice_thickness_mm,
    lambda i: i.series_number,
    lambda i: i.acquisition_time,
    lambda i: i.content_time,
    lambda i: i.sop_uid if i.num_frames > 1 else None,
)
"""What may tell volumes of one series apart, in the order in which it is tried."""


def _split(cluster: Images) -> list[Images]:
    """Parts whose positions are unique. The whole cluster when they are, or when nothing separates
    them."""
    if cluster[0].mosaic_tiles:
        return [[image] for image in cluster]
    whole = _stack(cluster)
    if not whole.repeats:
        return [cluster]
    pairs = [(d,) for d in DISCRIMINATORS] + list(combinations(DISCRIMINATORS, 2))
    for chosen in pairs:
        parts = _parts(cluster, lambda i, chosen=chosen: tuple(d(i) for d in chosen))  # type: ignore[misc]
        if len(parts) > 1 and all(_stack(part).usable for part in parts) and _same_extent(parts):
            return parts
    return _instance_blocks(cluster, whole) or [cluster]


def _parts(cluster: Images, key: Callable[[Instance], Hashable]) -> list[Images]:
    by_value: dict[Hashable, Images] = defaultdict(list)
    for image in cluster:
        by_value[key(image)].append(image)
    return list(by_value.values())


def _same_extent(parts: list[Images]) -> bool:
    """Nearly the same set of positions: no part is shorter than half of the longest."""
    sizes = [len(part) for part in parts]
    return min(sizes) * 2 >= max(sizes)


def _instance_blocks(cluster: Images, whole: Stack) -> list[Images] | None:
    """Split by InstanceNumber alone: volume after volume, or all times of a slice before the next
    slice."""
    numbers = [i.instance_number for i in cluster]
    gaps = [b - a for a, b in zip(whole.offsets_mm, whole.offsets_mm[1:], strict=False)]
    num_positions = 1 + sum(gap >= 0.01 for gap in gaps)
    if None in numbers or len(set(numbers)) < len(numbers) or len(cluster) % num_positions:
        return None
    ordered = sorted(cluster, key=lambda i: i.instance_number or 0)
    times = len(cluster) // num_positions
    for parts in (
        [ordered[t * num_positions : (t + 1) * num_positions] for t in range(times)],
        [ordered[t::times] for t in range(times)],
    ):
        if all(_stack(part).usable and len(part) == num_positions for part in parts):
            return parts
    return None


def _stack(images: Images) -> Stack:
    orientation = images[0].orientation
    assert orientation is not None
    return stack([i.position_mm for i in images if i.position_mm is not None], orientation)


# -------------------------------------------------------------------------------- planning


def _plan(images: Images, rules: Rules) -> ScanPlan | Rejection:
    """The volume that these images make, or why they make none."""
    first = images[0]
    if first.mosaic_tiles:
        return _mosaic_plan(first, rules)
    placed = _stack(images)
    if placed.repeats:
        return Rejection(Reason.POSITIONS_NOT_UNIQUE, f"{len(images)} images")
    if len(images) < rules.min_slices:
        return Rejection(Reason.TOO_FEW_SLICES, f"{len(images)} of at least {rules.min_slices}")
    if not placed.usable:
        return Rejection(Reason.SLICE_SPACING_IRREGULAR, f"median gap {placed.gap_mm:.3f} mm")
    if placed.missing > rules.max_missing_slices:
        return Rejection(Reason.MISSING_SLICES, f"{placed.missing} missing")
    if len(images) * first.rows * first.columns > rules.max_voxels:
        return Rejection(Reason.TOO_LARGE, f"{len(images)} x {first.rows} x {first.columns}")
    ordered = [images[i] for i in placed.order]
    start = ordered[0]
    assert start.position_mm is not None
    assert start.pixel_spacing_mm is not None
    step = _median_step(ordered, placed)
    flags = []
    if is_tilted(placed, start.pixel_spacing_mm):
        flags.append("GANTRY_TILT")
    if not placed.regular:
        flags.append("VARIABLE_SPACING")
    return ScanPlan(
        **_common(first),
        slices=tuple(Slice(i.path, i.frame) for i in ordered),
        sop_uids=tuple(i.sop_uid for i in ordered),
        rows=first.rows,
        columns=first.columns,
        origin_mm=start.position_mm,
        slice_step_mm=step,
        pixel_spacing_mm=start.pixel_spacing_mm,
        slice_spacing_mm=placed.gap_mm,
        offsets_mm=placed.offsets_mm,
        drift_mm=placed.drift_mm,
        flags=tuple(flags),
    )


def _common(first: Instance) -> dict[str, Any]:
    assert first.orientation is not None
    return {
        "study_uid": first.study_uid,
        "series_uid": first.series_uid,
        "index": 0,
        "modality": IMAGE_CLASSES[first.sop_class_uid],
        "row_direction": first.orientation[:3],
        "column_direction": first.orientation[3:],
        "series_number": first.series_number,
        "acquisition_number": first.acquisition_number,
        "acquisition": acquisition_facts(first),
    }


def _median_step(ordered: Images, placed: Stack) -> Vector:
    """Vector from a slice to the next: along the normal by the median gap, with the mean drift per
    millimetre."""
    orientation = ordered[0].orientation
    assert orientation is not None
    normal, gap, extent = normal_of(orientation), placed.gap_mm, placed.offsets_mm[-1] or 1.0
    along_row, along_column = (d / extent * gap for d in placed.drift_mm[-1])
    x, y, z = (
        gap * n + along_row * r + along_column * c
        for n, r, c in zip(normal, orientation[:3], orientation[3:], strict=True)
    )
    return (x, y, z)


def _mosaic_plan(image: Instance, rules: Rules) -> ScanPlan | Rejection:
    """A Siemens mosaic: tiles in reading order are slices along the CSA header's normal.

    ImagePositionPatient is that of the whole mosaic as if it were one big slice about the same
    centre; the first tile's corner lies inwards by half of what the mosaic is larger.
    """
    assert image.orientation is not None
    assert image.position_mm is not None
    assert image.pixel_spacing_mm is not None
    tiles_across = next(n for n in range(1, 1 << 10) if n * n >= image.mosaic_tiles)
    rows, columns = image.rows // tiles_across, image.columns // tiles_across
    normal = image.slice_normal or normal_of(image.orientation)
    gap = abs(image.spacing_between_slices_mm or image.slice_thickness_mm or 0.0)
    if not gap:
        return Rejection(Reason.MISSING_GEOMETRY, "no spacing between the tiles")
    if image.mosaic_tiles < rules.min_slices:
        return Rejection(
            Reason.TOO_FEW_SLICES, f"{image.mosaic_tiles} of at least {rules.min_slices}"
        )
    y_mm, x_mm = image.pixel_spacing_mm
    right, down = (image.columns - columns) / 2 * x_mm, (image.rows - rows) / 2 * y_mm
    x, y, z = (
        p + right * r + down * c
        for p, r, c in zip(
            image.position_mm, image.orientation[:3], image.orientation[3:], strict=True
        )
    )
    return ScanPlan(
        **_common(image),
        slices=tuple(Slice(image.path, image.frame, tile) for tile in range(image.mosaic_tiles)),
        sop_uids=(image.sop_uid,),
        rows=rows,
        columns=columns,
        origin_mm=(x, y, z),
        slice_step_mm=(gap * normal[0], gap * normal[1], gap * normal[2]),
        pixel_spacing_mm=image.pixel_spacing_mm,
        slice_spacing_mm=gap,
        offsets_mm=tuple(i * gap for i in range(image.mosaic_tiles)),
        drift_mm=((0.0, 0.0),) * image.mosaic_tiles,
    )


def _used_rows(plan: ScanPlan, images: Images, scan: int) -> list[LedgerRow]:
    number = {(s.path, s.frame): n for n, s in reversed(list(enumerate(plan.slices)))}
    return [
        replace(row_for(i, Status.USED), scan=scan, slice=number[(i.path, i.frame)]) for i in images
    ]
