"""What `ingest.pixel_header` reads, from pydicom: for files that are written in an unusual way.

In: a stream. Out: a `PixelHeader`. Unusual is what the strict walk over raw elements refuses: other
VRs than the dictionary's, elements that break off, data sets of mixed encoding.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO

from pydicom.filereader import read_partial

from ingest.elements import (
    DEFLATED,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    UNDEFINED,
    Coding,
    Unusual,
    head,
)
from ingest.frame_rescale import settled
from ingest.pixel_header import NUMBERS, PIXELS, PixelHeader, header_of
from ingest.undecodable import UndecodableError, damaged


def read_with_pydicom(stream: BinaryIO) -> PixelHeader:
    """The header of a file that is not deflated. Raises UndecodableError; OSError for the disk."""
    try:
        stream.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = read_partial(stream, _at_pixels, force=True)
            syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", IMPLICIT_LITTLE))
            if syntax == DEFLATED:
                raise damaged("an unusual data set, deflated")
            tag, vr, at, length = _pixel_element(stream, syntax, dataset)
            numbers = {
                keyword: int(value)
                for keyword in NUMBERS.values()
                if isinstance(value := dataset.get(keyword), int | str | float) and value != ""
            }
            return header_of(
                numbers,
                syntax,
                ">" if syntax == EXPLICIT_BIG else "<",
                PIXELS[tag],
                str(dataset.get("PhotometricInterpretation", "")),
                (at, -1 if length == UNDEFINED else length, vr),
                (),
                settled(lambda frame: _dataset_rescale(dataset, frame)),
            )
    except OSError as error:
        if error.errno is not None:
            raise  # the disk; parsers raise OSError too, but without a number
        raise damaged(f"{type(error).__name__}: {error}") from error
    except (MemoryError, UndecodableError):
        raise
    except Exception as error:  # pydicom raises what its input makes it raise
        raise damaged(f"{type(error).__name__}: {error}") from error


def _at_pixels(tag: int, vr: str | None, length: int) -> bool:
    if tag == 0 and length == 0:
        raise damaged("zeros instead of a data set")  # millions of elements: minutes
    return tag in PIXELS


def _pixel_element(stream: BinaryIO, syntax: str, dataset: Any) -> tuple[int, bytes, int, int]:
    """The head of the element before which pydicom stopped."""
    at = stream.tell()
    data = stream.read(12)
    is_explicit = not dataset.is_implicit_VR
    coding = Coding(">" if syntax == EXPLICIT_BIG else "<", is_explicit)
    try:
        tag, vr, value, length = head(data.ljust(12, b"\0"), 0, coding)
    except Unusual:
        raise damaged("no pixel data") from None
    if tag not in PIXELS:
        raise damaged("no pixel data")
    return tag, vr, at + value, length


def _dataset_rescale(dataset: Any, frame: int) -> tuple[float | None, float | None]:
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*per_frame[frame : frame + 1], *(dataset.get("SharedFunctionalGroupsSequence") or [])]
    places = [t[0] for g in groups if (t := g.get("PixelValueTransformationSequence"))]
    chosen = []
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        values = [place.get(keyword) for place in [*places, dataset]]
        first = next((value for value in values if value not in (None, "")), None)
        if isinstance(first, Sequence) and not isinstance(first, str):
            raise damaged(f"a rescale of several values: {first}")
        chosen.append(None if first is None else float(first))
    return chosen[0], chosen[1]
