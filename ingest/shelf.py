"""Arrays of a study, put aside until they are written: it may have any number of scans.

In: the arrays of scans, one by one. Out: the same arrays, or, once those in memory are many,
stand-ins that read theirs from a file without a name in the folder for temporary files (TMPDIR).
A stand-in has the shape and dtype of its array, and `numpy.asarray` brings it back.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any, cast

import numpy as np

KEPT_BYTES = 250 * 10**6
"""Of arrays of one study that stay in memory: 103 scans of 48 x 224 x 224. Few have more."""


class Shelf:
    """For the arrays of one study."""

    def __init__(self) -> None:
        self._kept, self._file = 0, -1

    def put(self, array: np.ndarray) -> np.ndarray:
        """The array, or what stands in for it. Raises OSError where there is no room."""
        self._kept += array.nbytes
        if self._kept <= KEPT_BYTES:
            return array
        if self._file < 0:
            with tempfile.TemporaryFile() as stream:
                self._file = os.dup(stream.fileno())
            weakref.finalize(self, os.close, self._file)
        return cast(np.ndarray, Shelved(self, self._file, array))


class Shelved:
    """Stands in for an array that lies in a file."""

    def __init__(self, shelf: Shelf, file: int, array: np.ndarray) -> None:
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype
        self._shelf, self._file = shelf, file  # the file is open as long as someone needs it
        self._at = os.lseek(file, 0, os.SEEK_END)
        data = np.ascontiguousarray(array).data.cast("B")
        while data.nbytes:
            data = data[os.write(file, data) :]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = np.empty(self.shape, self.dtype)
        data, at = values.data.cast("B"), self._at
        while data.nbytes:
            done = os.preadv(self._file, [data], at)
            if not done:
                raise OSError("an array that was put aside ends early")
            data, at = data[done:], at + done
        return values if dtype is None else values.astype(dtype, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process it is the array."""
        return np.asarray, (np.asarray(self),)
