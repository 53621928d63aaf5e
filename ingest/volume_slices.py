"""The voxels of a NIfTI or .npz volume one slice after the other, in memory for a slice.

In: a file and the number of a volume in it. Out: its slices, scaled, as
`ingest.volume_files.read_voxels` gives them whole, but for values that are no number, which only
the whole volume can replace (see `ingest.pixels`). An array in Fortran order, whose slices are all
over the file, is read whole.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from ingest import nifti
from ingest.compressed import DamagedStreamError, compression_of, decompressed
from ingest.place import Place
from ingest.volume_files import as_values, broken_is_undecodable, nifti_image
from study.records import Reason

Read = Callable[[int], bytes | bytearray]
"""The next bytes: so many, fewer where they end."""


def each_slice(place: Place, file_format: str, frame: int) -> Iterator[np.ndarray]:
    """Slices (rows, columns) in the order of the file.

    Raises UndecodableError, or OSError where the disk fails.
    """
    with place.open() as stream, broken_is_undecodable():
        yield from {"nifti": _of_nifti, "npz": _of_npz}[file_format](stream, frame)


def _of_nifti(stream: BinaryIO, frame: int) -> Iterator[np.ndarray]:
    image = nifti_image(stream, frame)
    one = replace(image, slices=1)
    read = _from(stream, image.data_at + frame * image.frame_bytes)
    for number in range(image.slices):
        data = read(one.frame_bytes)
        if len(data) < one.frame_bytes:
            lacking = image.frame_bytes - number * one.frame_bytes - len(data)
            raise DamagedStreamError(Reason.TRUNCATED, f"{lacking} bytes are missing")
        yield nifti.scaled(data, one)[0]


def _from(stream: BinaryIO, start: int) -> Read:
    """Reads on from `start` of what the stream holds when uncompressed."""
    stream.seek(0)
    kind = compression_of(stream.read(16))
    if kind is None:
        stream.seek(start)
        return stream.read
    stream.seek(0)
    chunks, held = decompressed(stream, kind), bytearray()
    skip = start

    def read(count: int) -> bytearray:
        nonlocal held, skip
        while len(held) < skip + count and (chunk := next(chunks, None)) is not None:
            held += chunk
            gone = min(skip, len(held))
            held, skip = held[gone:] if gone else held, skip - gone
        found, held = held[:count], held[count:]
        return found

    return read


def _of_npz(stream: BinaryIO, frame: int) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(stream) as archive:
        array = archive.infolist()[frame]
        with archive.open(array) as member:
            shape, fortran_order, dtype = _header(member)
            if len(shape) != 3 or dtype.kind not in "iufb":
                raise ValueError(f"no volume: {dtype} of shape {shape}")
            size = shape[1] * shape[2] * dtype.itemsize
            for _ in range(0 if fortran_order else shape[0]):
                data = member.read(size)
                if len(data) < size:
                    raise ValueError(f"an array of {shape} ends early")
                yield as_values(np.frombuffer(data, dtype).reshape(shape[1:]))
        if fortran_order:
            with archive.open(array) as member:
                yield from as_values(np.lib.format.read_array(member, allow_pickle=False))


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f"npy version {version}")
