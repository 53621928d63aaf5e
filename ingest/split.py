"""Images that could be one stack -> the volumes that they are.

In: a cluster. Out: its parts, each to become one volume, and what told them apart. The idea:
geometry first. Unique positions that make sense are one volume, whatever the tags say. Only where
positions repeat (or make no sense) are discriminators tried, one by one in a fixed order; the first
that leaves proper stacks wins. When no single one does, they are tried within each other's parts
(echoes of time points), and at last the order of InstanceNumber decides. Neither "always split on
AcquisitionNumber" nor "never" is right: contrast phases may differ in nothing else, while some
scanners number every pair of slices anew (dcm2niix#721, docs/decisions/0002-grouping.md).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from ingest.geometry import Stack, stack
from ingest.stacks import family_of
from ingest.tags import LOSSY_SYNTAXES
from study.records import Instance

Images = list[Instance]
Discriminator = tuple[str, Callable[[Instance], Hashable]]

MOST_STRAYS = 0.1
"""Share of images that may be left over in parts of less than half the size of the largest."""
MOST_DEPTH = 4
"""Discriminators within each other at most."""
HOLES, SHORT = 1, 2
LENIENCIES = (0, HOLES, SHORT)
"""What is tried in turn: parts without missing slices; with; and with volumes of less than half the
size of the largest."""
LEAST_PART = 3
"""Positions in every part, where a stack is parted though its positions do not repeat."""


def _lossy(image: Instance) -> Hashable:
    return image.is_lossy or image.transfer_syntax_uid in LOSSY_SYNTAXES


def _by(name: str) -> Discriminator:
    return name, lambda image: getattr(image, name)


def _dimension(number: int) -> Callable[[Instance], Hashable]:
    return lambda image: image.dimension_index[number]


COMMON = (_by("temporal_position"), _by("volume_number"), _by("stack_id"))
LAST = (
    ("is_lossy", _lossy),
    _by("sop_class_uid"),
    _by("series_number"),
    _by("protocol_name"),
    _by("series_description"),
    _by("bits_stored"),
)
CT_DISCRIMINATORS: tuple[Discriminator, ...] = (
    _by("acquisition_number"),
    _by("convolution_kernel"),
    ("acquisition time", lambda i: i.acquisition_time),
    ("content time", lambda i: i.content_time),
    _by("kvp_kv"),
    *COMMON,
    _by("cardiac_phase_percent"),
    _by("trigger_time_ms"),
    _by("reconstruction_diameter_mm"),
    _by("slice_thickness_mm"),
    _by("image_type"),
    _by("series_time"),
    *LAST,
)
MR_DISCRIMINATORS: tuple[Discriminator, ...] = (
    _by("echo_time_ms"),
    _by("echo_number"),
    _by("component"),
    _by("image_type"),
    _by("b_value_s_per_mm2"),
    _by("diffusion_direction"),
    *COMMON,
    _by("inversion_time_ms"),
    _by("flip_angle_deg"),
    _by("trigger_time_ms"),
    _by("cardiac_phase_percent"),
    _by("acquisition_number"),
    _by("repetition_time_ms"),
    ("acquisition time", lambda i: i.acquisition_time),
    ("content time", lambda i: i.content_time),
    _by("coil_name"),
    _by("slice_thickness_mm"),
    _by("series_time"),
    *LAST,
)
"""What may tell volumes of one series apart, in the order in which it is tried (`reference`
converters' lists, joined)."""
FILE = "file"
TIMES = ("acquisition_time", "content_time")


@dataclass(frozen=True)
class Part:
    """Images of one volume, and what parted them from the rest of their cluster; empty: nothing had
    to."""

    images: Images
    by: str = ""


def split(cluster: Images) -> list[Part]:
    """Parts of a cluster. The whole of it where its positions are unique and make sense, or where
    nothing separates them."""
    if cluster[0].mosaic_tiles:
        return [Part([image], "image" if len(cluster) > 1 else "") for image in cluster]
    whole = stack_of(cluster)
    if whole.repeats:
        placed = _in_order(cluster, whole)
        for leniency in LENIENCIES:
            parts = _parted(placed, 0, leniency)
            if parts:
                return parts
        return [Part(cluster)]
    if whole.usable:
        return (_regular_parts(cluster, whole) if whole.missing else None) or [Part(cluster)]
    return _regular_parts(cluster, whole) or _slabs(cluster, whole) or [Part(cluster)]


def stack_of(images: Images) -> Stack:
    """Where the images lie along the normal of the first."""
    orientation = images[0].orientation
    assert orientation is not None
    return stack([i.position_mm for i in images if i.position_mm is not None], orientation)


@dataclass(frozen=True)
class _Placed:
    """Images with the number of each one's position in the cluster."""

    images: Images
    positions: tuple[int, ...]

    @property
    def is_unique(self) -> bool:
        return len(set(self.positions)) == len(self.positions)

    @property
    def num_positions(self) -> int:
        return len(set(self.positions))

    def parts(self, values: Sequence[Hashable]) -> list[_Placed]:
        """Images with equal values, in the order of first appearance."""
        chosen: dict[Hashable, list[int]] = defaultdict(list)
        for n, value in enumerate(values):
            chosen[value].append(n)
        return [
            _Placed([self.images[n] for n in members], tuple(self.positions[n] for n in members))
            for members in chosen.values()
        ]


def _in_order(cluster: Images, whole: Stack) -> _Placed:
    numbers = dict(zip(whole.order, whole.position_numbers, strict=True))
    return _Placed(cluster, tuple(numbers[n] for n in range(len(cluster))))


def _parted(cluster: _Placed, depth: int, leniency: int) -> list[Part] | None:
    """Parts whose positions are unique, or None where nothing gives them."""
    if cluster.is_unique:
        is_whole = leniency >= HOLES or not stack_of(cluster.images).missing
        return [Part(cluster.images)] if is_whole else None
    candidates = _candidates(cluster)
    for name, values in candidates:
        parts = cluster.parts(values)
        if _are_proper(parts, cluster, leniency):
            return [Part(part.images, name) for part in parts]
    for name, values in _time_clusters(cluster):
        parts = cluster.parts(values)
        if _are_proper(parts, cluster, leniency):
            return [Part(part.images, name) for part in parts]
    if depth < MOST_DEPTH:
        for name, values in candidates:
            nested = _nested(cluster.parts(values), name, cluster, depth, leniency)
            if nested:
                return nested
    return _instance_blocks(cluster, leniency)


def _candidates(cluster: _Placed) -> list[tuple[str, list[Hashable]]]:
    """Discriminators that take more than one value here, each with the value of every image."""
    is_ct = family_of(cluster.images[0]) == "CT"
    known: list[Discriminator] = list(CT_DISCRIMINATORS if is_ct else MR_DISCRIMINATORS)
    if any(i.num_frames > 1 for i in cluster.images):
        known.append((FILE, lambda i: i.sop_uid))
    dimensions = min(len(i.dimension_index) for i in cluster.images)
    known += [(f"dimension {n + 1}", _dimension(n)) for n in range(dimensions)]
    found, seen = [], set()
    for name, value in known:
        values = [value(i) for i in cluster.images]
        first: dict[Hashable, int] = {}
        pattern = tuple(first.setdefault(v, len(first)) for v in values)
        if (
            len(first) > 1 and pattern not in seen
        ):  # two names for one partition: the first is tried
            seen.add(pattern)
            found.append((name, values))
    return found


def _are_proper(parts: list[_Placed], cluster: _Placed, leniency: int) -> bool:
    """True when the parts are stacks that could be volumes of one series: unique positions, sense
    in their gaps, and few images left over."""
    largest = max(len(part.images) for part in parts)
    whole = [part for part in parts if 2 * len(part.images) >= largest]
    small = [part for part in parts if 2 * len(part.images) < largest]
    most = 2 * -(-len(cluster.images) // cluster.num_positions)
    if leniency >= SHORT:
        whole += [part for part in small if _is_short_stack(part)]
        small = [part for part in small if not _is_short_stack(part)]
        most = 2 * max(Counter(cluster.positions).values())
    strays = sum(len(part.images) for part in small)
    if strays > MOST_STRAYS * len(cluster.images) or len(whole) > most:
        return False
    if largest == 1 and cluster.num_positions > 1:
        return False
    if not all(part.is_unique for part in (whole if leniency >= SHORT else parts)):
        return False
    stacks = [stack_of(part.images) for part in whole]
    return all(s.usable and (leniency >= HOLES or not s.missing) for s in stacks)


def _is_short_stack(part: _Placed) -> bool:
    """True for a volume of its own beside larger ones: the liver in one phase of an abdomen."""
    if len(part.images) <= LEAST_PART or not part.is_unique:
        return False
    return stack_of(part.images).regular


def _time_clusters(cluster: _Placed) -> list[tuple[str, list[Hashable]]]:
    """Images by the pause before them: as many groups as images share a position, cut at the
    longest pauses."""
    groups = max(Counter(cluster.positions).values())
    found: list[tuple[str, list[Hashable]]] = []
    for name in TIMES:
        times = [_seconds(getattr(i, name)) for i in cluster.images]
        known = sorted({t for t in times if t is not None})
        if None in times or len(known) < groups:
            continue
        pauses = sorted(range(1, len(known)), key=lambda n: known[n - 1] - known[n])[: groups - 1]
        cuts = sorted(known[n] for n in pauses)
        values = [sum(t >= cut for cut in cuts) for t in times if t is not None]
        found.append((f"pauses in {name.replace('_', ' ')}", list(values)))
    return found


def _seconds(text: str) -> float | None:
    """Time of day of a TM or DT value, in seconds.

    >>> _seconds("101500.5"), _seconds("20260102101500"), _seconds("soon")
    (36900.5, 36900.0, None)
    """
    digits = text.partition("+")[0].partition("-")[0].replace(":", "")
    whole, _, fraction = digits.partition(".")
    whole = whole[8:] if len(whole) > 8 else whole
    if len(whole) != 6 or not whole.isdigit() or (fraction and not fraction.isdigit()):
        return None
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4]), int(whole[4:])
    return 3600.0 * hours + 60.0 * minutes + seconds + float(f"0.{fraction or 0}")


def _nested(
    parts: list[_Placed], name: str, cluster: _Placed, depth: int, leniency: int
) -> list[Part] | None:
    """Parts of parts, where each of the outer ones covers the positions."""
    if any(2 * part.num_positions < cluster.num_positions for part in parts):
        return None
    found: list[Part] = []
    for part in parts:
        inner = _parted(part, depth + 1, leniency)
        if inner is None:
            return None
        found += [Part(p.images, f"{name}, {p.by}" if p.by else name) for p in inner]
    return found


def _instance_blocks(cluster: _Placed, leniency: int) -> list[Part] | None:
    """Volumes by InstanceNumber alone: volume after volume, or all times of a slice before the next
    slice.

    Where every position holds equally many images, the n-th image at a position belongs to volume n
    in either order. Else numbers are cut into blocks as long as there are positions.
    """
    numbers = [(i.instance_number, i.frame) for i in cluster.images]
    if any(i.instance_number is None for i in cluster.images) or len(set(numbers)) < len(numbers):
        return None
    order = sorted(range(len(numbers)), key=lambda n: numbers[n])
    counts = Counter(cluster.positions)
    values: list[Any] = [0] * len(numbers)
    if len(set(counts.values())) == 1:
        seen: Counter[int] = Counter()
        for n in order:
            values[n] = seen[cluster.positions[n]]
            seen[cluster.positions[n]] += 1
    elif all(i.frame == 0 for i in cluster.images):
        start = min(i.instance_number or 0 for i in cluster.images)
        values = [((i.instance_number or 0) - start) // len(counts) for i in cluster.images]
    parts = sorted(
        cluster.parts(values), key=lambda p: min(i.instance_number or 0 for i in p.images)
    )
    if len(parts) < 2 or not _are_proper(parts, cluster, leniency):
        return None
    return [Part(part.images, "order of instance numbers") for part in parts]


def _regular_parts(cluster: Images, whole: Stack) -> list[Part] | None:
    """Parts of a stack whose positions are unique but make no sense, or leave holes: by a
    discriminator that makes every part regular. Parts that fill each other's holes reach over each
    other."""
    placed = _in_order(cluster, whole)
    for name, values in _candidates(placed):
        parts = placed.parts(values)
        if len(parts) * LEAST_PART > len(cluster) or min(len(p.images) for p in parts) < LEAST_PART:
            continue
        stacks = [stack_of(part.images) for part in parts]
        reach = min(s.offsets_mm[-1] for s in stacks) / whole.offsets_mm[-1]
        if all(s.regular and not s.repeats for s in stacks) and (not whole.missing or reach > 0.5):
            return [Part(part.images, name) for part in parts]
    return None


def _slabs(cluster: Images, whole: Stack) -> list[Part] | None:
    """Parts of a stack on either side of gaps too wide to be bridged."""
    if not whole.breaks:
        return None
    ordered = [cluster[n] for n in whole.order]
    edges = [0, *(n + 1 for n in whole.breaks), len(ordered)]
    pieces = [ordered[a:b] for a, b in itertools.pairwise(edges)]
    if not any(len(piece) > LEAST_PART and stack_of(piece).usable for piece in pieces):
        return None
    return [Part(piece, "slab") for piece in pieces]
