"""The images of one volume -> the plan for reading it, or why there is none.

In: the images of a part. Out: a `ScanPlan`: slices in order along the normal, geometry before any
resampling, and flags. Spacing is the median of the projected gaps, never SliceThickness or
SpacingBetweenSlices (dcm2niix#1018 put a volume 20 % off that way). Source: DICOM PS3.3 C.7.6.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ingest.allowlist import acquisition_facts
from ingest.geometry import Stack, is_shift, is_tilted, normal_of, shift_off_line
from ingest.split import Part, stack_of
from ingest.stacks import Images, family_of
from study.ingest_sections import Rules
from study.records import Instance, Reason, Rejection, ScanPlan, Slice, Vector

TAG_FRACTION = 0.1
"""SpacingBetweenSlices farther off the measured spacing than this is flagged."""


def plan_volume(part: Part, rules: Rules) -> ScanPlan | Rejection:
    """The volume that the images of a part make, or why they make none."""
    images = part.images
    first = images[0]
    if first.mosaic_tiles:
        return _tiled_plan(first, part.by, rules)
    placed = stack_of(images)
    num_positions = placed.position_numbers[-1] + 1
    if placed.repeats:
        return Rejection(Reason.POSITIONS_NOT_UNIQUE, _repeats(placed))
    if num_positions < rules.min_slices:
        return Rejection(Reason.TOO_FEW_SLICES, f"{num_positions} of at least {rules.min_slices}")
    if not placed.usable:
        return Rejection(Reason.SLICE_SPACING_IRREGULAR, _gaps(placed))
    if placed.missing > rules.max_missing_slices:
        return Rejection(Reason.MISSING_SLICES, f"{placed.missing} missing: {_gaps(placed)}")
    if len(images) * first.rows * first.columns > rules.max_voxels:
        return Rejection(Reason.TOO_LARGE, f"{len(images)} x {first.rows} x {first.columns}")
    units = {i.rescale_type.upper() for i in images} - {""}
    if len(units) > 1:
        return Rejection(Reason.RESCALE_INCONSISTENT, " and ".join(sorted(units)))
    ordered = [images[i] for i in placed.order]
    start = ordered[0]
    if num_positions == 1:  # no gap to measure: what the header says, so that the slice has a depth
        gap = abs(first.spacing_between_slices_mm or first.slice_thickness_mm or 0.0) or 1.0
        placed = replace(placed, gap_mm=gap)
    assert start.position_mm is not None
    assert start.pixel_spacing_mm is not None
    return ScanPlan(
        **_common(first, part.by),
        slices=tuple(_slice(i) for i in ordered),
        sop_uids=tuple(i.sop_uid for i in ordered),
        rows=first.rows,
        columns=first.columns,
        origin_mm=start.position_mm,
        slice_step_mm=_median_step(ordered, placed),
        pixel_spacing_mm=start.pixel_spacing_mm,
        slice_spacing_mm=placed.gap_mm,
        offsets_mm=placed.offsets_mm,
        drift_mm=placed.drift_mm,
        flags=_flags(placed, start),
    )


def _flags(placed: Stack, image: Instance) -> tuple[str, ...]:
    assert image.pixel_spacing_mm is not None
    found = []
    if is_tilted(placed, image.pixel_spacing_mm):
        found.append("GANTRY_TILT")
        if shift_off_line(placed, image.pixel_spacing_mm):
            found.append("IN_PLANE_SHIFT")
    if placed.missing:
        found.append("FILLED_SLICES")
    elif not placed.regular:
        found.append("VARIABLE_SPACING")
    tag = abs(image.spacing_between_slices_mm or 0.0)
    if tag and placed.gap_mm and abs(tag - placed.gap_mm) > TAG_FRACTION * placed.gap_mm:
        found.append("SPACING_TAG_DIFFERS")
    return tuple(found)


def _repeats(placed: Stack) -> str:
    """How many positions hold how many images."""
    at_position = np.bincount(placed.position_numbers)
    counts = np.bincount(at_position)
    return ", ".join(f"{n} positions hold {k} images" for k, n in enumerate(counts) if n and k)


def _gaps(placed: Stack) -> str:
    """The gaps, rounded, with how often each occurs, in order along the normal."""
    gaps = np.round(np.diff(placed.offsets_mm), 2)
    pieces: list[list[float]] = []
    for gap in gaps:
        if pieces and pieces[-1][1] == gap:
            pieces[-1][0] += 1
        else:
            pieces.append([1, float(gap)])
    text = ", ".join(f"{int(n)} x {gap:g}" for n, gap in pieces[:8])
    return f"gaps in mm {text}{', ...' if len(pieces) > 8 else ''}"


def _slice(image: Instance, tile: int = -1) -> Slice:
    return Slice(
        image.path,
        image.frame,
        tile,
        image.stored_in,
        image.stored_at,
        image.file_bytes,
        image.file_format,
    )


def _common(first: Instance, by: str) -> dict[str, Any]:
    assert first.orientation is not None
    return {
        "study_uid": first.study_uid,
        "series_uid": first.series_uid,
        "index": 0,
        "modality": family_of(first),
        "row_direction": first.orientation[:3],
        "column_direction": first.orientation[3:],
        "split_by": by,
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


def _tiled_plan(image: Instance, by: str, rules: Rules) -> ScanPlan | Rejection:
    """A mosaic (tiles in reading order) or a volume file (slices one after the other): slices along
    the image's slice normal."""
    assert image.orientation is not None
    assert image.position_mm is not None
    assert image.pixel_spacing_mm is not None
    tiles = image.mosaic_tiles
    rows, columns = image.rows // _tiles_down(image), image.columns // max(1, image.tiles_across)
    normal = image.slice_normal or normal_of(image.orientation)
    gap = abs(image.spacing_between_slices_mm or image.slice_thickness_mm or 0.0)
    if not gap:
        return Rejection(Reason.MISSING_GEOMETRY, "no spacing between the tiles")
    if tiles < rules.min_slices:
        return Rejection(Reason.TOO_FEW_SLICES, f"{tiles} of at least {rules.min_slices}")
    if tiles * rows * columns > rules.max_voxels:
        return Rejection(Reason.TOO_LARGE, f"{tiles} x {rows} x {columns}")
    order, origin, handed = range(tiles), image.position_mm, normal_of(image.orientation)
    if _dot(normal, handed) < 0:  # the last tile comes first, so that every plan is right-handed
        order = range(tiles - 1, -1, -1)
        reach = (tiles - 1) * gap
        origin = tuple(o + reach * n for o, n in zip(origin, normal, strict=True))  # type: ignore[assignment]
        normal = (-normal[0], -normal[1], -normal[2])
    row, column = image.orientation[:3], image.orientation[3:]
    along, step = _dot(normal, handed) * gap, (_dot(normal, row) * gap, _dot(normal, column) * gap)
    drift = tuple((i * step[0], i * step[1]) for i in range(tiles))
    return ScanPlan(
        **_common(image, by),
        slices=tuple(_slice(image, tile) for tile in order),
        sop_uids=(image.sop_uid,),
        rows=rows,
        columns=columns,
        origin_mm=origin,
        slice_step_mm=(gap * normal[0], gap * normal[1], gap * normal[2]),
        pixel_spacing_mm=image.pixel_spacing_mm,
        slice_spacing_mm=along,
        offsets_mm=tuple(i * along for i in range(tiles)),
        drift_mm=drift,
        flags=("GANTRY_TILT",) if is_shift(drift, image.pixel_spacing_mm) else (),
    )


def _tiles_down(image: Instance) -> int:
    """Rows of tiles: Siemens fills up a square, United Imaging leaves empty rows out."""
    square = max(1, image.tiles_across)
    if not image.tiles_across or "MOSAIC" in image.image_type:
        return square
    needed = -(-image.mosaic_tiles // square)
    return square if image.rows % needed else needed


def _dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
