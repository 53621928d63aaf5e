"""Siemens mosaics: how many slices an image holds, and in which direction they follow.

In: a data set whose ImageType says MOSAIC. Out: the number of tiles and the slice normal in LPS.
The CSA image header (0029,1010) is a list of named values in a private format; only two names are
wanted here. Source: the public description of the format in nibabel's documentation ("Siemens
format DICOM with CSA header").
"""

from __future__ import annotations

import struct
from typing import Any

from ingest.values import integer, numbers
from study.records import Vector

NUMBER_OF_IMAGES_IN_MOSAIC = 0x0019100A
CSA_IMAGE_HEADERS = (0x00291010, 0x00291110, 0x00291210)
"""Where the header is, and where archives that claim the block for themselves move it."""


def mosaic(dataset: Any) -> tuple[int, Vector | None]:
    """(number of tiles, slice normal). 0 tiles when neither the tag nor the CSA header tells."""
    wanted = ("NumberOfImagesInMosaic", "SliceNormalVector")
    found = (csa_values(_bytes(dataset, tag), wanted) for tag in CSA_IMAGE_HEADERS)
    csa = next((values for values in found if values), {})
    count = _value(dataset, NUMBER_OF_IMAGES_IN_MOSAIC)
    if isinstance(count, bytes):
        count = struct.unpack("<H", count[:2])[0] if len(count) >= 2 else None
    tiles = integer(count) or integer(csa.get("NumberOfImagesInMosaic")) or 0
    return tiles, numbers(csa.get("SliceNormalVector", [])[:3], 3)


def _value(dataset: Any, tag: int) -> Any:
    """Value of a private element; pydicom answers with the element, a fast header with the
    value."""
    element = dataset.get(tag)
    return getattr(element, "value", element)


def _bytes(dataset: Any, tag: int) -> bytes:
    value = _value(dataset, tag)
    return value if isinstance(value, bytes) else b""


def csa_values(header: bytes, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Values of the named entries of a CSA header of version 2 (SV10) or 1; {} where it does not
    parse.

    >>> csa_values(b"", ("SliceNormalVector",))
    {}
    """
    found: dict[str, list[str]] = {}
    if not header:
        return found
    try:
        position = 8 if header[:4] == b"SV10" else 0
        count = struct.unpack_from("<I", header, position)[0]
        position += 8
        for _ in range(min(count, 4096)):
            name = header[position : position + 64].split(b"\0", 1)[0].decode("latin-1")
            items = struct.unpack_from("<i", header, position + 76)[0]
            position += 84
            values = []
            for _ in range(items):
                length = struct.unpack_from("<4i", header, position)[
                    1 if header[:4] == b"SV10" else 0
                ]
                position += 16
                if length < 0 or position + length > len(header):
                    return found
                text = (
                    header[position : position + length]
                    .split(b"\0", 1)[0]
                    .decode("latin-1")
                    .strip()
                )
                if text:
                    values.append(text)
                position += (length + 3) // 4 * 4
            if name in names and values:
                found[name] = values
                if len(found) == len(names):
                    break
    except struct.error:
        return found
    return found
