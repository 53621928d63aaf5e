"""Slope and intercept of every frame, looked for when they are asked for.

In: the first bytes of a file and its wanted elements. Out: a `Rescale`. The idea: a file of ten
thousand frames has a transformation in each of its functional groups, of which thirty are wanted;
where all groups are without one, none is stepped through. Source: DICOM PS3.3 C.7.6.16.2.9 (pixel
value transformation of a frame), C.11.1 (modality LUT).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np

from ingest.elements import (
    PER_FRAME_GROUPS,
    SHARED_GROUPS,
    Coding,
    Element,
    NeedMore,
    Unusual,
    find,
    items,
)
from ingest.undecodable import damaged

TRANSFORMATION = 0x00289145
SLOPE, INTERCEPT = 0x00281053, 0x00281052
WANTED = frozenset((SLOPE, INTERCEPT, SHARED_GROUPS, PER_FRAME_GROUPS))
"""Elements of a data set that a rescale needs."""
RESCALE = frozenset((SLOPE, INTERCEPT))
ONE_TRANSFORMATION = frozenset((TRANSFORMATION,))

Given = tuple[float | None, float | None]
"""Slope and intercept as they are written; None: not there."""
Rescale = Callable[[int], tuple[float, float]]
"""Slope and intercept of a frame, from 0. Raises UndecodableError."""


def rescale_of(data: bytes, found: Mapping[int, Element], coding: Coding) -> Rescale:
    """A frame's own, the shared ones, or those of the top, in this order. Raises as
    `elements.find` does, ValueError, UndecodableError."""
    top = _given(data, found)
    if SHARED_GROUPS in found or PER_FRAME_GROUPS in found:
        return settled(_of_frames(data, found, coding, top))
    return settled(lambda _: top)


def settled(rescale: Callable[[int], Given]) -> Rescale:
    """Slope and intercept that can be computed with: 1 and 0 where the file gives none. A slope of
    0, which would leave no image, is none."""

    def checked(frame: int) -> tuple[float, float]:
        slope, intercept = rescale(frame)
        slope, intercept = slope or 1.0, intercept or 0.0
        if not (np.isfinite(slope) and np.isfinite(intercept)):
            raise damaged(f"rescale slope {slope}, intercept {intercept}")
        return slope, intercept

    return checked


def _given(data: bytes, found: Mapping[int, Element]) -> Given:
    slope, intercept = (
        _decimal(data[found[tag].start : found[tag].start + found[tag].length])
        if tag in found
        else None
        for tag in (SLOPE, INTERCEPT)
    )
    return slope, intercept


def _decimal(value: bytes) -> float | None:
    """One decimal string; None where it is empty. Several values are a broken file: which one?"""
    text = value.decode("latin-1").strip(" \0")
    if "\\" in text:
        raise damaged(f"a rescale of several values: {text}")
    return float(text) if text else None


def _start_of(found: Mapping[int, Element], tag: int) -> int:
    return found[tag].start if tag in found else 1 << 62  # beyond every buffer


def _of_frames(
    data: bytes,
    found: Mapping[int, Element],
    coding: Coding,
    top: Given,
) -> Callable[[int], Given]:
    """Look a frame's transformation up in its functional groups; items are stepped over once."""
    shared: Given = (None, None)
    if SHARED_GROUPS in found:
        for start, end in items(data, found[SHARED_GROUPS], coding):
            shared = _of_group(data, start, end, coding)
            break
    places: list[tuple[int, int]] = []
    own_at = data.find(_bytes_of(TRANSFORMATION, coding), _start_of(found, PER_FRAME_GROUPS))
    more = items(data, found[PER_FRAME_GROUPS], coding) if own_at >= 0 else iter(())

    def transform(frame: int) -> Given:
        try:
            while len(places) <= frame and (place := next(more, None)) is not None:
                places.append(place)
            own: Given = (None, None)
            if frame < len(places):
                own = _of_group(data, *places[frame], coding)
        except (NeedMore, Unusual, struct.error, ValueError) as error:
            raise damaged(f"functional groups of frame {frame}") from error
        chosen = [
            next((value for value in values if value is not None), None)
            for values in zip(own, shared, top, strict=True)
        ]
        return chosen[0], chosen[1]

    return transform


def _bytes_of(tag: int, coding: Coding) -> bytes:
    return struct.pack(coding.order + "HH", tag >> 16, tag & 0xFFFF)


def _of_group(data: bytes, start: int, end: int, coding: Coding) -> Given:
    """Slope and intercept in one item of a functional groups sequence."""
    if data.find(_bytes_of(TRANSFORMATION, coding), start, end) < 0:
        return None, None  # no need to step through the item: it is nowhere in it
    found, _ = find(data, start, end, coding, ONE_TRANSFORMATION, TRANSFORMATION + 1)
    if TRANSFORMATION in found:
        sequence = found[TRANSFORMATION]
        for inner_start, inner_end in items(data, sequence, coding):
            values, _ = find(data, inner_start, inner_end, coding, RESCALE, SLOPE + 1)
            return _given(data, values)
    return None, None
