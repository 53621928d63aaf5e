"""A scan as HLIP stores it -> a `Scan`.

In: the bytes of `<root>/<uid>/<scan>/img.pt` and the scan's name. Out: a Scan, or why there is
none. HLIP keeps a tensor and a name, nothing else: where the voxels lie in space is not known, nor
what their values were, so that what stands in those fields is assumed, and flagged GEOMETRY_ASSUMED
and LIMITS_ASSUMED. What is assumed is how HLIP prepares its data: R-P-I, the axis of largest
spacing as D. Names are descriptions of series: what they tell is read from them, they themselves
stay outside. Source: HLIP, src/hlip_train/data.py and data/pub_brain_5/*/process.py.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from study.ingest_sections import Intensity
from study.records import Matrix, Reason, Rejection, Scan, Vector

FILES = {"img.pt": "", "img_brain.pt": "brain", "img_blood.pt": "blood", "img_bone.pt": "bone"}
"""Files of a scan's folder -> window that the file's name tells."""
WINDOWS = ("brain", "blood", "bone")
PERCENTILE = "percentile"
STORED_LIMITS = (0.0, 255.0)
"""Of a window whose limits nobody knows: values stand for themselves."""
LARGEST_IN_PLANE = 2048
FLOAT_SLACK = 1e-3
"""How far beyond 0 and 1 half precision may put a value."""

_WINDOW = re.compile(rf"[_-]?({'|'.join(WINDOWS)})[_-]?window$", re.IGNORECASE)
_PLANES = {
    "axial": {"AX", "AXIAL", "TRA", "TRANSVERSE"},
    "coronal": {"COR", "CORONAL"},
    "sagittal": {"SAG", "SAGITTAL"},
}
_STEPS: dict[str, tuple[Vector, Vector, Vector]] = {
    "axial": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "sagittal": ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
}
"""LPS directions of D, H, W of an R-P-I array, by plane (as `ingest.grid` stores them)."""


@dataclass(frozen=True)
class Reading:
    """How tensors become scans."""

    shape: tuple[int, int, int] = (48, 224, 224)
    """(D, H, W) to be stored. A tensor of that depth and at least that size in plane is cropped to
    its centre, as HLIP does with 256 x 256; any other is left out."""
    modality: str = ""
    """CT or MR; empty: CT where a window is named, MR elsewhere."""
    spacing_mm: Vector = (1.0, 1.0, 1.0)
    """Assumed, along D, H, W."""
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Window -> (lower, upper) in HU, where the user knows them."""


def scan_files(folder: Path) -> list[tuple[str, Path]]:
    """(window that the file's name tells, file) of a scan; `img.pt` where there is none of FILES,
    so that it is reported as missing."""
    found = [(window, folder / name) for name, window in FILES.items() if (folder / name).exists()]
    return found or [("", folder / "img.pt")]


def window_of(name: str) -> tuple[str, str]:
    """Window that a scan's name ends in (empty: none), and the name of its series.

    >>> window_of("Head_5mm_BrainWindow"), window_of("T2_FLAIR")
    (('brain', 'Head_5mm'), ('', 'T2_FLAIR'))
    """
    match = _WINDOW.search(name)
    return ("", name) if match is None else (match[1].lower(), name[: match.start()])


def plane_of(name: str) -> str:
    """Plane that a word of the name tells; axial where none does.

    >>> plane_of("T1_SAG_post"), plane_of("Sagebrush")
    ('sagittal', 'axial')
    """
    words = set(re.split(r"[^A-Z]+", name.upper()))
    return next((plane for plane, known in _PLANES.items() if words & known), "axial")


def scan_of(
    data: bytes, name: str, window: str, series_index: int, digest: str, how: Reading
) -> Scan | Rejection:
    """The scan in the bytes of a .pt file; `window` is what the file's name tells, empty for
    img.pt."""
    voxels = voxels_of(data, how.shape)
    if isinstance(voxels, Rejection):
        return voxels
    if voxels.min() == voxels.max():
        return Rejection(Reason.INTENSITY_CONSTANT, f"every voxel is {voxels.min()}")
    window = window or window_of(name)[0]
    plane = plane_of(name)
    source = voxels.shape
    before = [(have - want) // 2 for have, want in zip(source, how.shape, strict=True)]
    crop = tuple(slice(n, n + want) for n, want in zip(before, how.shape, strict=True))
    affine = _affine(plane, how.spacing_mm, (source[0], source[1], source[2]))
    named = Intensity().ct_windows.get(window)
    limits = STORED_LIMITS if named is None else (named[0] - named[1] / 2, named[0] + named[1] / 2)
    flags = ["GEOMETRY_ASSUMED", *([] if window in how.limits else ["LIMITS_ASSUMED"])]
    return Scan(
        array=np.ascontiguousarray(voxels[crop]),
        modality=how.modality or ("CT" if window else "MR"),
        plane=plane,
        window=window or PERCENTILE,
        window_limits=how.limits.get(window, limits),
        spacing_mm=how.spacing_mm,
        affine=_matrix(affine, affine[:3, :3] @ before + affine[:3, 3]),
        source_shape=(source[0], source[1], source[2]),
        source_spacing_mm=how.spacing_mm,
        source_affine=_matrix(affine, affine[:3, 3]),
        series_index=series_index,
        flags=tuple(flags),
        digest=digest,
    )


def voxels_of(data: bytes, shape: tuple[int, int, int]) -> np.ndarray | Rejection:
    """uint8 (D, H, W) in a .pt file, of at least the wanted size in plane. Floats are 0 to 1."""
    import torch  # seconds to import, which no other command should wait for

    try:
        tensor = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises what its input makes it raise
        return Rejection(Reason.UNREADABLE, type(error).__name__)
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        return Rejection(Reason.UNDECODABLE_PIXELS, f"not a plain tensor: {type(tensor).__name__}")
    sizes = tuple(tensor.shape)
    if len(sizes) > 3 and set(sizes[:-3]) == {1}:
        sizes = sizes[-3:]
    wanted = " x ".join(map(str, shape))
    if len(sizes) != 3 or sizes[0] != shape[0]:
        return Rejection(Reason.UNDECODABLE_PIXELS, f"shape {sizes}, wanted {wanted}")
    if min(sizes[1] - shape[1], sizes[2] - shape[2]) < 0 or max(sizes) > LARGEST_IN_PLANE:
        return Rejection(Reason.UNDECODABLE_PIXELS, f"shape {sizes}, wanted {wanted}")
    if tensor.dtype == torch.uint8:
        plain: np.ndarray = tensor.detach().reshape(sizes).numpy()
        return plain
    if not tensor.is_floating_point():
        return Rejection(Reason.UNDECODABLE_PIXELS, f"dtype {tensor.dtype}")
    values: np.ndarray = tensor.detach().reshape(sizes).to(torch.float32).numpy()
    if not (values.min() >= -FLOAT_SLACK and values.max() <= 1 + FLOAT_SLACK):  # NaN is neither
        return Rejection(Reason.UNDECODABLE_PIXELS, "floats that are not from 0 to 1")
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _affine(plane: str, spacing_mm: Vector, shape: tuple[int, int, int]) -> np.ndarray:
    """(d, h, w, 1) -> LPS mm, the middle of the array at the origin."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(_STEPS[plane]).T * np.array(spacing_mm)
    affine[:3, 3] = affine[:3, :3] @ ((1 - np.array(shape)) / 2)
    return affine


def _matrix(affine: np.ndarray, origin_mm: np.ndarray) -> Matrix:
    rows = np.column_stack([affine[:3, :3], origin_mm]) + 0.0
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in [*rows, (0, 0, 0, 1)])
