"""Digests of decoded pixels, for the few images that may be copies of each other.

In: rows of a crawl. Out: the same rows; where SOPInstanceUIDs repeat, or nothing but UIDs tells
images at one place apart, with a digest of their pixels (`duplicates` says what follows). Decoding
is done in a supervised child: a file that breaks it has a digest that is equal to no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from ingest import guarded
from ingest.duplicates import to_compare
from ingest.pixels import digests
from ingest.place import Place, place_of
from ingest.supervise import Limits, child_of_thread
from study.records import Instance, Rejection

FILES_PER_TASK = 64


def with_digests(
    rows: list[Instance],
    run: Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]],
    limits: Limits,
) -> list[Instance]:
    """Rows with the digests that they need; what has one keeps it. `run` maps a function over
    chunks."""
    suspects = to_compare(rows)
    places = {
        row.path: place_of(row) for row in rows if row.path in suspects and not row.pixel_digest
    }
    files = [places[path] for path in sorted(places)]
    chunks = [files[i : i + FILES_PER_TASK] for i in range(0, len(files), FILES_PER_TASK)]
    found: dict[str, list[str]] = {}
    for chunk in run(partial(read_digests, limits=limits), chunks):
        found.update(chunk)
    return [
        replace(row, pixel_digest=_of_frame(found[row.path], row)) if row.path in found else row
        for row in rows
    ]


def read_digests(places: list[Place], limits: Limits) -> dict[str, list[str]]:
    """Digests of all frames of some files, by path; the task that a worker runs."""
    child = child_of_thread(limits)
    found = guarded.each(child, digests, places, _broken)
    return {place.path: values for place, values in zip(places, found, strict=True)}


def _broken(place: Place, rejection: Rejection) -> list[str]:
    return [f"{rejection.reason} {place.path}"]


def _of_frame(values: list[str], row: Instance) -> str:
    """The digest of a row's frame; of a file that does not decode, a text of its own."""
    if row.frame < len(values) > 1 or row.num_frames == 1:
        return values[min(row.frame, len(values) - 1)]
    return f"{values[-1]} {row.frame}"
