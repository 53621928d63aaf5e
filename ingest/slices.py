"""Voxels that are had slice by slice: what an array and a volume larger than memory share.

In: nothing. Out: the protocol `Slices`, which a numpy array (D, H, W) fulfils as it is. The idea:
who goes through a volume slice by slice needs no more, so that neither decoding nor conversion
ever holds a large one: it lies in a file (`ingest.spooled`), or is made as it is asked for
(`ingest.turned`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

KINDS = (np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.float32))
"""Of volumes as they are decoded, from narrow to wide."""


class Slices(Protocol):
    """A volume (D, H, W). An index along D, from 0, gives a slice (H, W)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def size(self) -> int:
        """Voxels."""

    def min(self) -> Any:
        """The smallest voxel."""

    def max(self) -> Any:
        """The largest voxel."""

    def __len__(self) -> int:
        """Slices."""

    def __getitem__(self, number: int, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class OneByOne(ABC):
    """What follows for `Slices` from shape, dtype and how one slice is had."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = tuple(shape), dtype

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def min(self) -> Any:
        return min(slice_HW.min() for slice_HW in self)

    def max(self) -> Any:
        return max(slice_HW.max() for slice_HW in self)

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, number: int, /) -> np.ndarray: ...

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))
