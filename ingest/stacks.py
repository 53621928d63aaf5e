"""Which images could be slices of one stack.

In: admitted images of a study. Out: clusters that agree in everything that all slices of a stack
share, in a deterministic order. Tags that vary within a stack on some scanner (SeriesNumber,
ProtocolName, dates, exposure, AcquisitionNumber, SliceThickness) are not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

from ingest.geometry import normal_of, same_direction
from ingest.tags import IMAGE_CLASSES
from study.records import Instance, Vector

Images = list[Instance]

SAME_SPACING = 1e-4
"""Relative: pixel spacings that differ by less are the same."""
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
        apart: list[Images] = []
        for image in same:
            for cluster in apart:
                if _alike(cluster, image, has_frames):
                    cluster.append(image)
                    break
            else:
                apart.append([image])
        found.extend(apart)
    return found


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


def _alike(cluster: Images, image: Instance, has_frames: bool) -> bool:
    first = cluster[0]
    assert first.orientation is not None
    assert image.orientation is not None
    assert first.pixel_spacing_mm is not None
    assert image.pixel_spacing_mm is not None
    if has_frames and image.frame_of_reference_uid:
        known = next((i.frame_of_reference_uid for i in cluster if i.frame_of_reference_uid), "")
        if known not in ("", image.frame_of_reference_uid):
            return False
    return same_direction(first.orientation, image.orientation) and all(
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
