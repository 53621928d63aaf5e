"""Which images could be slices of one stack.

In: admitted images of a study. Out: clusters that agree in everything that all slices of a stack
share, in a deterministic order. Tags that vary within a stack on some scanner (SeriesNumber,
ProtocolName, dates, exposure, AcquisitionNumber, SliceThickness) are not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

import numpy as np

from ingest.geometry import normal_of, same_directions
from ingest.tags import IMAGE_CLASSES
from study.records import Instance, Vector

Images = list[Instance]

SAME_SPACING = 1e-4
"""Relative: pixel spacings that differ by less are the same."""
JUMP_MM = 20.0
"""Two slices next to each other that lie so far apart in plane are not of one stack."""
FEW_SLICES = 4
"""A series of several orientations with fewer positions in each is a localizer."""
PLANE_SLICES = 15
"""A series of three perpendicular planes with no more positions in each is a localizer."""
PARALLEL, PERPENDICULAR = 0.95, 0.2
"""Cosine between two normals from which on they are one plane, and up to which they are at a right
angle."""


def family_of(image: Instance) -> str:
    """CT or MR, by SOP class; the stated modality for volumes that are not DICOM."""
    return IMAGE_CLASSES.get(image.sop_class_uid, image.modality)


def clusters(images: Images) -> list[Images]:
    """Images that could be one stack, in the order in which they come."""
    by_key: dict[Hashable, Images] = defaultdict(list)
    for image in images:
        by_key[_key(image)].append(image)
    found: list[Images] = []
    for same in by_key.values():
        frames = {i.frame_of_reference_uid for i in same} - {""}
        has_frames = len(frames) < len(same)  # a new one for every image is an anonymiser's work
        for cluster in _alike(same, has_frames):
            found.extend(_side_by_side(cluster))
    return found


def _alike(images: Images, has_frames: bool) -> list[Images]:
    """Clusters that agree in orientation, pixel spacing and (`has_frames`) frame of reference."""
    apart: list[Images] = []
    known: dict[Hashable, Images] = {}  # of what was seen before, so that few are compared
    directions = np.empty((64, 6))
    for image in images:
        frame = image.frame_of_reference_uid if has_frames else ""
        facts = (image.orientation, image.pixel_spacing_mm, frame)
        cluster = known.get(facts)
        if cluster is None:
            assert image.orientation is not None
            near = same_directions(directions[: len(apart)], image.orientation)
            cluster = next((apart[n] for n in near if _agree(apart[n], image, frame)), None)
            if cluster is None:
                cluster = []
                if len(apart) == len(directions):
                    directions = np.concatenate([directions, np.empty_like(directions)])
                directions[len(apart)] = image.orientation
                apart.append(cluster)
            known[facts] = cluster
        cluster.append(image)
    return apart


def _key(image: Instance) -> Hashable:
    return (
        image.series_uid,
        image.file_format,
        family_of(image),
        image.rows,
        image.columns,
        image.mosaic_tiles,
        tuple(t.upper() for t in image.image_type[:3]),
    )


def _side_by_side(cluster: Images) -> list[Images]:
    """Stacks beside each other, such as both knees: apart by a jump in plane that no tilt makes."""
    if cluster[0].mosaic_tiles or len(cluster) < 2:
        return [cluster]
    positions = np.array([i.position_mm for i in cluster])
    numbers = np.zeros((2, len(cluster)), np.int64)
    for n in range(2):
        orientation = cluster[0].orientation
        assert orientation is not None
        along = positions @ np.array(orientation[3 * n : 3 * n + 3])
        order = np.argsort(along, kind="stable")
        numbers[n, order[1:]] = np.cumsum(np.diff(along[order]) > JUMP_MM)
    apart: dict[Hashable, Images] = defaultdict(list)
    for image, row, column in zip(cluster, *numbers.tolist(), strict=True):
        apart[row, column].append(image)
    return list(apart.values())


def _agree(cluster: Images, image: Instance, frame: str) -> bool:
    """True when pixel spacing and frame of reference (if it counts) are the cluster's."""
    first = cluster[0]
    assert first.pixel_spacing_mm is not None
    assert image.pixel_spacing_mm is not None
    if frame:
        known = next((i.frame_of_reference_uid for i in cluster if i.frame_of_reference_uid), "")
        if known not in ("", frame):
            return False
    return all(
        abs(a - b) <= SAME_SPACING * a
        for a, b in zip(first.pixel_spacing_mm, image.pixel_spacing_mm, strict=True)
    )


def is_localizer(series: list[Images]) -> bool:
    """True when the clusters of a series look like a localizer: a few slices in each of several
    orientations."""
    planes: list[tuple[Vector, int]] = []
    for cluster in series:
        if cluster[0].mosaic_tiles:
            return False
        orientation = cluster[0].orientation
        assert orientation is not None
        normal = normal_of(orientation)
        positions = len({tuple(round(v, 1) for v in i.position_mm or ()) for i in cluster})
        for n, (known, count) in enumerate(planes):
            if abs(_dot(known, normal)) >= PARALLEL:
                planes[n] = (known, max(count, positions))
                break
        else:
            planes.append((normal, positions))
    most = max(count for _, count in planes)
    if len(planes) >= 2 and most < FEW_SLICES:
        return True
    normals = [normal for normal, _ in planes]
    is_three_planes = len(planes) == 3 and all(
        abs(_dot(normals[a], normals[b])) <= PERPENDICULAR for a, b in ((0, 1), (0, 2), (1, 2))
    )
    return is_three_planes and most <= PLANE_SLICES


def _dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
