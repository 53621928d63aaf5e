"""A volume in a file without a name, written and read slice by slice.

In: slices in any order, of int16, int32 or float32. Out: `Spooled`, whose slices are read as they
are asked for. The idea: a decoding process hands the open file over, so that neither it nor who
converts ever holds more of the volume than a slice. Volumes up to LARGEST_IN_MEMORY are in memory
that belongs to no process (memfd: it counts once), larger ones in the folder for temporary files
(TMPDIR), where the page cache holds what there is room for. No other process can open the file,
and it is gone with those that have it.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import numpy as np

from ingest.slices import KINDS, OneByOne

LARGEST_IN_MEMORY = 768 << 20
"""Bytes: with them, a worker and its decoding process are below 2 GB together. A CT of 1,536 slices
of 512 x 512 is as large."""


class Spooled(OneByOne):
    """A volume (D, H, W) in a file; slices that were not written are 0."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any] = KINDS[0]) -> None:
        super().__init__(shape, dtype)
        self._hold(_nameless(self._bytes))
        self._written: set[int] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        """Without its file, which goes another way: see `file` and `attach`."""
        return _without_file, (self.shape, self.dtype)

    @property
    def _bytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def _slice_bytes(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    @property
    def file(self) -> int:
        """The open file."""
        return self._file

    def attach(self, file: int) -> None:
        """Take the file of a volume that has been pickled."""
        self._hold(file)

    def close(self) -> None:
        """Give the bytes back, at the latest when nobody has the volume any more."""
        self._finalizer()

    def _hold(self, file: int) -> None:
        self._file = file
        self._finalizer = weakref.finalize(self, os.close, file)

    def put(self, number: int, values: np.ndarray) -> None:
        """Write slice `number`, (H, W). All become wider where it needs a wider type.

        Raises OSError where there is no room.
        """
        if KINDS.index(values.dtype) > KINDS.index(self.dtype):
            self._widen(values.dtype)
        data = np.ascontiguousarray(values, self.dtype).data.cast("B")
        position = number * self._slice_bytes
        while data.nbytes:
            done = os.pwrite(self._file, data, position)
            data, position = data[done:], position + done
        self._written.add(number)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        wider = Spooled(self.shape, dtype)
        for number in sorted(self._written):
            wider.put(number, self[number].astype(dtype))
        self.close()
        self.dtype, self._written = dtype, wider._written
        wider._finalizer.detach()
        self._hold(wider._file)

    def __getitem__(self, number: int, /) -> np.ndarray:
        if not 0 <= number < len(self):
            raise IndexError(number)
        values = np.empty(self.shape[1:], self.dtype)
        data, position = values.data.cast("B"), number * self._slice_bytes
        while data.nbytes:
            done = os.preadv(self._file, [data], position)
            if not done:
                raise OSError(f"slice {number} of a spooled volume ends early")
            data, position = data[done:], position + done
        return values


def _without_file(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Spooled:
    volume = Spooled.__new__(Spooled)
    OneByOne.__init__(volume, shape, dtype)
    volume._written = set()
    return volume


def _nameless(length: int) -> int:
    """A file of `length` zeros that only this process has."""
    if length <= LARGEST_IN_MEMORY and hasattr(os, "memfd_create"):
        file = os.memfd_create("dicom2clip volume")
    else:
        with tempfile.TemporaryFile() as stream:
            file = os.dup(stream.fileno())
    try:
        os.ftruncate(file, length)
    except BaseException:
        os.close(file)
        raise
    return file
