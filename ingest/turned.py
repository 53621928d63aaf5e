"""A volume seen along other axes, plane by plane, without turning it in memory.

In: `Slices`, and which of their axes are to be D, H and W. Out: planes (H, W) along the new D. The
idea: where D is the axis of the slices, a plane is a slice. Where it is another one, a plane has a
line of every slice: an array gives it as a view, and of a volume that is not in memory one passage
collects as many planes as fit into BLOCK_BYTES.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.slices import Slices

BLOCK_BYTES = 1 << 27
"""Planes that one passage through the slices collects."""


@dataclass(frozen=True)
class Turned:
    """A view of a volume: nothing is copied before it is asked for."""

    voxels: Slices
    order: tuple[int, int, int]
    """Native axis (0 slices, 1 rows, 2 columns) of D, H, W."""
    flipped: tuple[bool, bool, bool]
    """Whether D, H, W run against the native axis."""

    @property
    def shape(self) -> tuple[int, int, int]:
        d, h, w = (self.voxels.shape[axis] for axis in self.order)
        return (d, h, w)

    def planes(self, groups: Sequence[Sequence[int]]) -> Iterator[Iterator[np.ndarray]]:
        """For each group the planes at its indices along D. Groups are in the order of D, so that
        those next to each other need few passages."""
        if self.order[0] == 0 or isinstance(self.voxels, np.ndarray):
            along = self.voxels
            if isinstance(along, np.ndarray):
                along = np.moveaxis(along, self.order[0], 0)
            for group in groups:
                yield (self._seen(along[self._native(index)]) for index in group)
            return
        for block in self._blocks(groups):
            planes = self._collected({index for group in block for index in group})
            for group in block:
                yield (self._seen(planes[index]) for index in group)
            planes.clear()  # before the next ones are collected

    def _native(self, index: int) -> int:
        return self.shape[0] - 1 - index if self.flipped[0] else index

    def _seen(self, plane: np.ndarray) -> np.ndarray:
        """A plane whose axes are in native order, as (H, W)."""
        plane = plane if self.order[1] < self.order[2] else plane.T
        for axis in (0, 1):
            plane = np.flip(plane, axis) if self.flipped[axis + 1] else plane
        return plane

    def _blocks(self, groups: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
        """Groups whose planes are collected together: at least one, as many as there is room."""
        _, height, width = self.shape
        room = BLOCK_BYTES // (height * width * self.voxels.dtype.itemsize)
        block: list[Sequence[int]] = []
        wanted: set[int] = set()
        for group in groups:
            if block and len(wanted | set(group)) > room:
                yield block
                block, wanted = [], set()
            block.append(group)
            wanted |= set(group)
        if block:
            yield block

    def _collected(self, wanted: set[int]) -> dict[int, np.ndarray]:
        """Planes by their index along D, axes in native order, in one passage."""
        indices = sorted(wanted)
        numbers = [self._native(index) for index in indices]
        kept = self.voxels.shape[3 - self.order[0]]  # of axes 1 and 2, the one that is not D
        planes = np.empty((len(indices), len(self.voxels), kept), self.voxels.dtype)
        for number, slice_HW in enumerate(self.voxels):
            planes[:, number] = np.moveaxis(slice_HW, self.order[0] - 1, 0)[numbers]
        return dict(zip(indices, planes, strict=True))
