from itertools import permutations, product

import numpy as np
import pytest

from shards.view import letters, view_of
from study.records import Matrix

EDGES = {
    "axial": {"left": "R", "right": "L", "top": "A", "bottom": "P"},
    "coronal": {"left": "R", "right": "L", "top": "S", "bottom": "I"},
    "sagittal": {"left": "A", "right": "P", "top": "S", "bottom": "I"},
}
SIDE = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
OPPOSITE = {
    "left": (np.s_[:, 0], np.s_[:, -1]),
    "right": (np.s_[:, -1], np.s_[:, 0]),
    "top": (np.s_[0], np.s_[-1]),
    "bottom": (np.s_[-1], np.s_[0]),
}


def affine_of(axes: tuple[int, ...], signs: tuple[int, ...]) -> Matrix:
    """Index axis n runs along LPS axis axes[n], in direction signs[n], 2 + n mm a step."""
    steps = np.zeros((4, 4))
    for column, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        steps[axis, column] = sign * (2 + column)
    steps[3, 3] = 1
    return tuple(tuple(row) for row in steps.tolist())


@pytest.mark.parametrize("axes", permutations(range(3)))
@pytest.mark.parametrize("signs", product((1, -1), repeat=3))
def test_every_orientation_is_shown_in_radiological_convention(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    affine = affine_of(axes, signs)
    view = view_of(affine)
    assert {name: getattr(view, name) for name in EDGES[view.plane]} == EDGES[view.plane]
    h, w = np.mgrid[:5, :7]
    for edge, letter in EDGES[view.plane].items():
        axis, sign = SIDE[letter]
        picture = view.apply(sign * (h * affine[axis][1] + w * affine[axis][2]))
        near, far = OPPOSITE[edge]
        assert picture[near].mean() > picture[far].mean()
    assert view.pixel_mm == ((4, 3) if view.transpose else (3, 4))


def test_oblique_edges_have_two_letters() -> None:
    assert letters(np.array([0.8, -0.6, 0.0])) == "LA"
    assert letters(np.array([0.0, 0.98, 0.2])) == "P"
    assert letters(np.array([-0.6, 0.0, -0.8])) == "IR"
