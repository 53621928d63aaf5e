"""What vendors keep in private elements: diffusion, complex component, mosaics and grids.

In: a source of values, or `first(tag)`, which answers with the first source that has one. Out:
facts of an `Instance`. Sources: conformance statements of Siemens, GE, Philips and United Imaging;
dcm2niix's notes on each.
"""

from __future__ import annotations

import math
from typing import Any

import pydicom

from ingest import siemens
from ingest.values import Source, frame, integer, number, numbers, spacing, text, texts
from study.records import Vector

GE_COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
"""By the value of GE's (0043,102F)."""
PHILIPS_COMPONENTS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}
UIH_TILES, UIH_FRAMES = 0x00651050, 0x00651051
"""United Imaging: number of images in a grid, and a sequence with one item a tile."""
MAX_TILES = 4096
GE_SEQUENCES = (0x0019109C, 0x0019109E)
"""GE: name of the pulse sequence as installed, and its internal name."""
GE_VARIANT, GE_SLICES = 0x001910B3, 0x0021104F
"""GE: a number of the sequence's own (user variable 12), and slices in a volume."""
REVERSED_VOLUMES = {2: 1, 3: 0}
"""Variants of GE's epi_pepolar in which every other volume is stored with its rows in reverse: odd
ones (1) or even ones (0). In variant 1 all are."""


def component(first: Any) -> str:
    """MAGNITUDE, PHASE, REAL or IMAGINARY: standard tag, GE (0043,102F), Philips (2005,1011);
    else empty. A field map in Hz is REAL."""
    if _is_field_map(first):
        return "REAL"
    standard = text(first("ComplexImageComponent")).upper()
    if standard:
        return standard
    ge = integer(private(first, 0x0043102F))
    if ge is not None and 0 <= ge < len(GE_COMPONENTS):
        return GE_COMPONENTS[ge]
    return PHILIPS_COMPONENTS.get(text(private(first, 0x20051011)), "")


def _ge_sequence(first: Any) -> str:
    if not text(first("Manufacturer")).upper().startswith("GE"):
        return ""
    return " ".join(text(private(first, tag)) for tag in GE_SEQUENCES).lower()


def _is_field_map(first: Any) -> bool:
    """True for the first volume of GE's B0 mapping series (the second is the magnitude); no other
    tag tells them apart (dcm2niix#501)."""
    slices, of, number = (
        integer(value)
        for value in (
            private(first, GE_SLICES),
            first("ImagesInAcquisition"),
            first("InstanceNumber"),
        )
    )
    return bool(slices and of and number and number <= slices < of) and (
        "b0map" in _ge_sequence(first)
    )


def is_upside_down(first: Any) -> bool:
    """True for images of GE's epi_pepolar that have their rows in reverse, against what
    ImageOrientationPatient says (dcm2niix#532)."""
    variant, volume = (
        integer(private(first, GE_VARIANT)),
        integer(first("TemporalPositionIdentifier")),
    )
    if variant in REVERSED_VOLUMES:
        is_reversed = bool(volume) and volume % 2 == REVERSED_VOLUMES[variant]  # type: ignore[operator]
    else:
        is_reversed = variant == 1
    return is_reversed and "epi_pepolar" in _ge_sequence(first)


def turned_over(
    position: Vector | None, orientation: Any, pixel_mm: tuple[float, float] | None, rows: int
) -> tuple[Vector | None, Any]:
    """Place of the first voxel and orientation of an image whose rows are stored in reverse."""
    if position is None or orientation is None or pixel_mm is None:
        return position, orientation
    reach = (rows - 1) * pixel_mm[0]
    x, y, z = (p + reach * c for p, c in zip(position, orientation[3:], strict=True))
    return (x, y, z), (*orientation[:3], *(-c for c in orientation[3:]))


def b_value(first: Any) -> float | None:
    """Standard tag, else the vendor's: Siemens (0019,100C), Philips (2001,1003), UIH (0065,1009),
    GE (0043,1039)."""
    standard = number(first("DiffusionBValue"))
    if standard is not None:
        return standard
    for tag in (0x0019100C, 0x20011003, 0x00651009):
        found = number(private(first, tag))
        if found is not None:
            return found
    values = texts(private(first, 0x00431039))
    found = number(values[0]) if values else None
    return None if found is None else found % 100_000  # GE adds 1e9 as a flag


def private(first: Any, tag: int) -> Any:
    """Value of a private element; bytes (an element of unknown VR) count as missing."""
    element = first(tag)
    value = getattr(element, "value", element)
    return None if isinstance(value, bytes) else value


def direction(first: Any) -> tuple[float, ...] | None:
    """Standard tag, else Siemens (0019,100E), UIH (0065,1037), GE (0019,10BB..BD) or Philips
    (2005,10B0..B2)."""
    for value in (
        first("DiffusionGradientOrientation"),
        private(first, 0x0019100E),
        private(first, 0x00651037),
    ):
        found: tuple[float, ...] | None = numbers(value, 3)
        if found:
            return found
    for tags in ((0x001910BB, 0x001910BC, 0x001910BD), (0x200510B0, 0x200510B1, 0x200510B2)):
        parts = [number(private(first, tag)) for tag in tags]
        if all(p is not None for p in parts):
            return tuple(p for p in parts if p is not None)
    return None


def mosaic_facts(dataset: Source) -> dict[str, Any]:
    """Tiles of a Siemens mosaic or a UIH grid, and where the first one's first voxel is.

    Siemens gives ImagePositionPatient as if the mosaic were one slice about the same centre: the
    tile's corner lies inwards by half of what the mosaic is larger. UIH lists every tile's own
    position in (0065,1051), and its grid has only as many rows of tiles as it needs. Empty for
    every other image.
    """
    across, origin, normal, step = 0, None, None, None
    tiles = integer(private(dataset.get, UIH_TILES)) or 0
    if 1 < tiles <= MAX_TILES:
        origin, normal, step = _uih_tiles(dataset, tiles)
    elif "MOSAIC" in texts(dataset.get("ImageType")):
        tiles, normal = siemens.mosaic(dataset)
    if not 1 < tiles <= MAX_TILES:
        return {}
    across = math.isqrt(tiles - 1) + 1
    facts: dict[str, Any] = {"mosaic_tiles": tiles, "tiles_across": across, "slice_normal": normal}
    position = numbers(dataset.get("ImagePositionPatient"), 3)
    orientation = frame(numbers(dataset.get("ImageOrientationPatient"), 6))
    pixel_mm = spacing(dataset.get("PixelSpacing"))
    rows, columns = integer(dataset.get("Rows")) or 0, integer(dataset.get("Columns")) or 0
    if origin is not None:
        facts.update(position_mm=origin, spacing_between_slices_mm=step)
    elif position and orientation and pixel_mm:
        down = (rows - rows // across) / 2 * pixel_mm[0]
        right = (columns - columns // across) / 2 * pixel_mm[1]
        facts["position_mm"] = tuple(
            p + right * r + down * c
            for p, r, c in zip(position, orientation[:3], orientation[3:], strict=True)
        )
    return facts


def _uih_tiles(dataset: Source, tiles: int) -> tuple[Vector | None, Vector | None, float | None]:
    """(position of the first tile, direction to the next, distance) from UIH's frame sequence."""
    items = private(dataset.get, UIH_FRAMES)
    if not isinstance(items, pydicom.sequence.Sequence) or len(items) != tiles:
        return None, None, None
    first, last = (numbers(items[n].get("ImagePositionPatient"), 3) for n in (0, -1))
    if first is None or last is None:
        return None, None, None
    way = [b - a for a, b in zip(first, last, strict=True)]
    length = math.hypot(*way)
    if length == 0:
        return None, None, None
    return first, (way[0] / length, way[1] / length, way[2] / length), length / (tiles - 1)
