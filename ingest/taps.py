"""Resampling one axis: which old indices, with which weights, make each new one.

In: sizes and a kind of interpolation. Out: `Taps`, and how the new index lies on the old one. All
kinds keep the outer edges of the axis where they are (torch's align_corners=False), so that a new
index i is at old index (i + 0.5) * scale - 0.5. `nearest` and `linear` choose and weigh as torch's
`interpolate` does with nearest-exact and (bi-, tri-)linear; `area` is the mean over what a new
voxel covers (the centre of which lies up to an eighth of an old voxel beside the new one's where it
covers parts of old ones), and linear where there are fewer old ones than new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Taps:
    """New index n is the sum over k of weight[n, k] * old[index[n, k]]."""

    index: np.ndarray
    """[new, taps] int64, within the old axis."""
    weight: np.ndarray
    """[new, taps] float32; they sum to 1, or to less where a new voxel lies in the padding."""
    start: float
    """Old index of the centre of new index 0."""
    step: float
    """Old indices from a new one to the next."""

    @property
    def inside(self) -> np.ndarray:
        """Which new indices see anything but padding."""
        return np.asarray(self.weight.any(axis=1))

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        """For each new index its (old index, weight), those of weight 0 left out."""
        for index, weight in zip(self.index.tolist(), self.weight.tolist(), strict=True):
            yield [(i, w) for i, w in zip(index, weight, strict=True) if w]

    def apply(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Resample one axis of a slice (H, W). In a fixed order of sums: equal on every machine."""
        shape = (-1, 1) if axis == 0 else (1, -1)
        kind = values.dtype
        result: np.ndarray | None = None
        for index, weight in zip(self.index.T, self.weight.T.astype(kind), strict=True):
            part = values.take(index, axis=axis)
            part *= weight.reshape(shape)
            result = part if result is None else np.add(result, part, out=result)
        assert result is not None, "there is always a tap"
        return result


def fitted(have: int, padded: int, count: int, kept: int, how: str) -> Taps:
    """Pad an axis of `have` voxels to `padded`, resize that to `count`, and cut or pad this to
    `kept`, each about the centre. Padding is 0: it weighs nothing. `how`: nearest, linear or area.
    """
    before = (padded - have) // 2
    cut = (count - kept) // 2 if count >= kept else -((kept - count) // 2)
    taps, weights = {"nearest": _nearest, "linear": _linear, "area": _area}[how](padded, count)
    index = np.zeros((kept, taps.shape[1]), np.int64)
    weight = np.zeros((kept, taps.shape[1]), np.float32)
    new = np.arange(kept) + cut
    there = (new >= 0) & (new < count)
    index[there], weight[there] = taps[new[there]] - before, weights[new[there]]
    weight[(index < 0) | (index >= have)] = 0
    index = np.clip(index, 0, have - 1)
    used = np.asarray(weight.any(axis=0))
    used[0] = True
    scale = padded / count
    return Taps(index[:, used], weight[:, used], (cut + 0.5) * scale - 0.5 - before, scale)


def _nearest(have: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """torch's choice to the last bit: it works in float32 with fused multiply-add, which matters
    where a new voxel's centre is midway between two old ones."""
    scale = float(np.float32(have) / np.float32(count))
    at = np.maximum(((np.arange(count) + 0.5) * scale - 0.5).astype(np.float32), 0)
    index = np.minimum(np.floor(at + np.float32(0.5)).astype(np.int64), have - 1)
    return index[:, None], np.ones((count, 1), np.float32)


def _linear(have: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    at = np.clip((np.arange(count) + 0.5) * have / count - 0.5, 0, have - 1)
    lower = np.floor(at).astype(np.int64)
    upper = np.minimum(lower + 1, have - 1)
    part = at - lower
    return np.stack([lower, upper], 1), np.stack([1 - part, part], 1).astype(np.float32)


def _area(have: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of every old voxel in each new one."""
    if have <= count:
        return _linear(have, count)
    edges = np.arange(count + 1) * have / count
    first, last = np.floor(edges[:-1]).astype(np.int64), np.ceil(edges[1:]).astype(np.int64)
    index = first[:, None] + np.arange((last - first).max())
    overlap = np.minimum(edges[1:, None], index + 1) - np.maximum(edges[:-1, None], index)
    weight = (np.maximum(overlap, 0) * count / have).astype(np.float32)
    return np.minimum(index, have - 1), weight
