"""An analytic head phantom: what a patient's head would look like in any MR series.

In: (seed, patient, study) for the head, a `SeriesParams` for the picture.
Out: an int16 volume [slice, row, column] and its DICOM geometry.
Idea: tissue is a function of position in LPS millimetres, evaluated only at the native coarse
voxels of one series, so that a series costs a few milliseconds and needs no stored atlas.

Five findings can be planted. They differ in place and shape; their signal depends on the contrast
and resembles normal structures (fat, sinus, CSF) whose volume varies, so that the histogram of a
scan says little about them. Coordinates: x to the patient's left, y posterior, z superior; "head
coordinates" have their origin at the centre of the head and axes along the head, not the scanner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Vector = tuple[float, float, float]  # mm, or a unit vector; x left, y posterior, z superior

FINDINGS = ("mass", "haemorrhage", "infarct", "ventriculomegaly", "midline_shift")
FINDING_RATE = 0.25  # independent for each, so 0.75**5 = 24 % of the studies show none
CONTRASTS = ("T1", "T1C", "T2", "FLAIR", "DWI", "T2STAR")
PLANES = ("axial", "coronal", "sagittal")

BRAIN_SHRINK = 0.83  # semi-axes of the brain as a part of the head's
SKULL_SHRINK = 0.91  # outer surface of the skull
INFARCT_LENGTH_MM = 42.0  # from apex to base
BLEED_EXTENT = 0.40  # 1 - cosine of the half angle seen from the centre
OEDEMA_RATIO = 1.55  # radius of the oedema as a multiple of the tumour's

# Relative signal per contrast. A lesion that equals brain (about 0.5) cannot be seen in it.
TISSUES = ("fat", "bone", "csf", "grey", "white", "falx", "tumour", "oedema", "blood", "infarct")
SIGNAL = {
    "T1": (0.95, 0.10, 0.12, 0.50, 0.62, 0.25, 0.22, 0.36, 1.00, 0.28),
    "T1C": (0.95, 0.10, 0.12, 0.50, 0.62, 0.90, 1.00, 0.38, 0.90, 0.30),
    "T2": (0.75, 0.08, 1.00, 0.52, 0.42, 0.15, 0.65, 0.95, 1.00, 0.85),
    "FLAIR": (0.80, 0.08, 0.08, 0.50, 0.42, 0.25, 0.65, 1.00, 0.95, 0.88),
    "DWI": (0.15, 0.05, 0.08, 0.50, 0.46, 0.35, 0.80, 0.60, 0.48, 0.88),
    "T2STAR": (0.60, 0.05, 0.90, 0.55, 0.50, 0.15, 0.52, 0.55, 0.04, 0.55),
}
# Where fat is suppressed something else must be bright, or the histogram would tell an infarct.
SINUS_SIGNAL = {"T1": 0.9, "T1C": 1.0, "T2": 1.0, "FLAIR": 1.0, "DWI": 1.0, "T2STAR": 0.9}


@dataclass(frozen=True)
class Finding:
    """One planted finding, in head coordinates."""

    kind: str  # one of FINDINGS
    side: str  # "left", "right", or "" where a side has no meaning
    size_mm: float  # radius (mass, infarct base), thickness (haemorrhage), width, or displacement
    centre_mm: Vector  # centre of the ball, apex of the wedge, or (0, 0, 0)
    direction: Vector  # unit vector towards the cortex; (0, 0, 0) if none

    @property
    def side_sign(self) -> float:
        """+1 on the patient's left, -1 on the right, as x of LPS; 0 without a side."""
        return {"left": 1.0, "right": -1.0, "": 0.0}[self.side]


@dataclass(frozen=True)
class Head:
    """One patient's anatomy with the findings of one study. Lengths in mm."""

    semi_axes_mm: Vector
    centre_mm: Vector  # of the head in the scanner, LPS
    rotation: tuple[Vector, Vector, Vector]  # 3 x 3, scanner = rotation @ head
    ventricle_scale: float
    sulcus_depth: float
    asymmetry: float  # relative difference of the two hemispheres' ventricles
    sinus_size_mm: float  # radius of the opacified sinuses; a distractor that varies widely
    eye_size_mm: float
    scalp_ratio: float  # thickness of the scalp relative to the average
    findings: tuple[Finding, ...]

    def find(self, kind: str) -> Finding | None:
        """The finding of that kind, if planted."""
        return next((f for f in self.findings if f.kind == kind), None)


@dataclass(frozen=True)
class SeriesParams:
    """One series as the scanner would be told to make it."""

    contrast: str  # one of CONTRASTS
    plane: str  # one of PLANES
    matrix: int  # rows = columns
    spacing_mm: float  # between rows and between columns
    slice_spacing_mm: float  # between slice centres
    num_slices: int
    tilt_deg: float = 0.0  # rotation of the stack about its row axis; oblique series
    noise_seed: int = 0  # decides noise, gain, contrast curve, and bias field


@dataclass(frozen=True)
class Geometry:
    """DICOM geometry of a stack (PS3.3 C.7.6.2): all vectors LPS; positions are voxel centres."""

    first_position_mm: Vector  # ImagePositionPatient of slice 0
    row_cosine: Vector  # direction of rising column index
    column_cosine: Vector  # direction of rising row index
    slice_step_mm: Vector  # from one slice to the next
    spacing_mm: float

    def position_mm(self, slice_index: int) -> Vector:
        """ImagePositionPatient of a slice."""
        pairs = zip(self.first_position_mm, self.slice_step_mm, strict=True)
        x, y, z = (round(p + slice_index * s, 4) for p, s in pairs)
        return x, y, z


def draw_head(seed: int, patient: int, study: int = 0) -> Head:
    """The head of a patient; anatomy depends on (seed, patient), findings on the study as well."""
    rng = np.random.default_rng((seed, patient, 0))
    semi_axes = _triple(np.array((76, 94, 84)) * rng.uniform(0.94, 1.06, 3))
    rotation = _rotation(*np.deg2rad(rng.uniform(-4, 4, 3)))
    anatomy = Head(
        semi_axes_mm=semi_axes,
        centre_mm=_triple(rng.uniform(-4, 4, 3)),
        rotation=(_triple(rotation[0]), _triple(rotation[1]), _triple(rotation[2])),
        ventricle_scale=float(rng.uniform(0.9, 1.1)),
        sulcus_depth=float(rng.uniform(0.0, 1.0)),
        asymmetry=float(rng.uniform(-0.1, 0.1)),
        sinus_size_mm=float(rng.uniform(8, 26)),
        eye_size_mm=float(rng.uniform(10, 15)),
        scalp_ratio=float(rng.uniform(0.5, 1.5)),
        findings=(),
    )
    rng = np.random.default_rng((seed, patient, 1 + study))
    present = rng.random(len(FINDINGS)) < FINDING_RATE
    kinds = [kind for kind, here in zip(FINDINGS, present, strict=True) if here]
    return replace(anatomy, findings=tuple(_draw_finding(k, semi_axes, rng) for k in kinds))


def _draw_finding(kind: str, semi_axes_mm: Vector, rng: np.random.Generator) -> Finding:
    """Place a finding where its kind occurs, with a side and a size."""
    side = "left" if rng.random() < 0.5 else "right"
    sign = 1.0 if side == "left" else -1.0
    brain = np.array(semi_axes_mm) * BRAIN_SHRINK
    nowhere = (0.0, 0.0, 0.0)
    if kind == "mass":  # deep in the frontal or anterior parietal lobe
        centre = brain * (0.48 * sign, rng.uniform(-0.5, -0.1), rng.uniform(0.05, 0.35))
        return Finding(kind, side, float(rng.uniform(17, 21)), _triple(centre), nowhere)
    if kind == "haemorrhage":  # along the lateral convexity
        heading = np.array([sign, rng.uniform(-0.3, 0.3), rng.uniform(0.0, 0.4)])
        return Finding(kind, side, float(rng.uniform(17, 23)), nowhere, _unit(heading))
    if kind == "infarct":  # posterior territory
        heading = np.array([0.7 * sign, 0.8, rng.uniform(0.0, 0.3)])
        apex = brain * (0.2 * sign, 0.2, 0.1)
        return Finding(kind, side, float(rng.uniform(22, 27)), _triple(apex), _unit(heading))
    if kind == "ventriculomegaly":
        return Finding(kind, "", float(rng.uniform(1.8, 2.2)), nowhere, nowhere)
    return Finding(kind, side, float(rng.uniform(14, 18)), nowhere, nowhere)


def stack_geometry(series: SeriesParams) -> Geometry:
    """Geometry of the stack, centred on the scanner's origin."""
    row, column = {
        "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
        "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    }[series.plane]
    row_cosine, column_cosine = np.array(row), np.array(column)
    normal = np.cross(row_cosine, column_cosine)
    tilt = np.deg2rad(series.tilt_deg)
    column_cosine = np.cos(tilt) * column_cosine + np.sin(tilt) * normal
    step = np.cross(row_cosine, column_cosine) * series.slice_spacing_mm
    half_mm = (series.matrix - 1) / 2 * series.spacing_mm
    first = -half_mm * (row_cosine + column_cosine) - (series.num_slices - 1) / 2 * step
    cosines = _triple(row_cosine), _triple(column_cosine)
    return Geometry(_triple(first), *cosines, _triple(step), series.spacing_mm)


def sample_series(head: Head, series: SeriesParams) -> tuple[np.ndarray, Geometry]:
    """The volume of a series, int16 [num_slices, matrix, matrix], and its geometry.

    A pure function of its arguments; brightness carries nothing, since gain and contrast curve are
    drawn for each series.
    """
    geometry = stack_geometry(series)
    rng = np.random.default_rng((series.noise_seed, 7))
    x, y, z = _head_coordinates(head, geometry, (series.num_slices, series.matrix, series.matrix))
    image = _tissue_signal(head, series.contrast, x, y, z, rng)
    bias_x, bias_y, bias_z = rng.uniform(-0.2, 0.2, 3).astype(np.float32) / 90
    image *= 1 + bias_x * x + bias_y * y + bias_z * z
    np.maximum(image, 0, out=image)
    image **= np.float32(rng.uniform(0.8, 1.25))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(rng.uniform(0.02, 0.05))
    image += noise
    np.abs(image, out=image)  # magnitude images have no negative noise
    image *= np.float32(rng.uniform(300, 1500))
    return image.astype(np.int16), geometry


def _head_coordinates(
    head: Head, geometry: Geometry, shape: tuple[int, int, int]
) -> list[np.ndarray]:
    """x, y, z of every voxel centre in head coordinates, three float32 arrays [D, H, W]."""
    to_head = np.array(head.rotation).T
    first = to_head @ (np.array(geometry.first_position_mm) - head.centre_mm)
    per_slice = to_head @ np.array(geometry.slice_step_mm)
    per_row = to_head @ np.array(geometry.column_cosine) * geometry.spacing_mm
    per_column = to_head @ np.array(geometry.row_cosine) * geometry.spacing_mm
    index_d, index_h, index_w = (np.arange(n, dtype=np.float32) for n in shape)
    return [
        (np.float32(first[a]) + index_d * np.float32(per_slice[a]))[:, None, None]
        + (index_h * np.float32(per_row[a]))[:, None]
        + index_w * np.float32(per_column[a])
        for a in range(3)
    ]


def _tissue_signal(
    head: Head,
    contrast: str,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Relative signal 0..1 at head coordinates, painted from the outside in."""
    jitter = 1 + rng.uniform(-0.08, 0.08, len(TISSUES))
    level = dict(zip(TISSUES, (jitter * SIGNAL[contrast]).tolist(), strict=True))
    a, b, c = head.semi_axes_mm
    radius = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)  # 1 on the skin
    mean_axis = (a + b + c) / 3
    brain_edge = BRAIN_SHRINK
    skull_edge = 1 - (1 - SKULL_SHRINK) * head.scalp_ratio
    image = level["fat"] * _inside((radius - 1) * mean_axis)
    _paint(image, _inside((radius - skull_edge) * mean_axis), level["bone"])

    # Sinuses and eyes lie outside the brain, so that what is bright is not always a finding.
    size = head.sinus_size_mm
    sinus = _ball(x, y + 0.72 * b, z + 0.52 * c, 1.4 * size, 0.7 * size, 0.8 * size)
    sinus *= _inside((radius - 0.97) * mean_axis)
    _paint(image, sinus, SINUS_SIGNAL[contrast])
    eye = _ball(np.abs(x) - 32, y + 0.8 * b, z + 0.25 * c, *([head.eye_size_mm] * 3))
    _paint(image, eye, level["csf"])

    shift = head.find("midline_shift")
    if shift is not None:  # midline structures move; the skull does not
        x = x - shift.side_sign * shift.size_mm * np.maximum(0, 1 - (radius / brain_edge) ** 2)

    brain = _inside((radius - brain_edge) * mean_axis)
    _paint(image, brain, level["csf"])
    folds = np.sin(x * 0.16 + 1.0) * np.sin(y * 0.14) * np.sin(z * 0.15 + 0.5)
    sulci = np.float32(0.05 * head.sulcus_depth) * (folds > 0.25)
    cortex_edge = brain_edge - 0.02 - sulci
    _paint(image, _inside((radius - cortex_edge) * mean_axis), level["grey"])
    _paint(image, _inside((radius - 0.68 - 0.06 * folds) * mean_axis), level["white"])
    _paint(image, brain * _inside(np.abs(x) - 2.5) * (z > 0.1 * c), level["falx"])

    large = head.find("ventriculomegaly")
    scale = head.ventricle_scale * (large.size_mm if large else 1.0)
    for sign in (1.0, -1.0):
        s = scale * (1 + sign * head.asymmetry)
        horn = _ball(sign * x - 3 - 6.5 * s, y - 4, z - 8, 6.5 * s, 23 * s**0.5, 9 * s)
        _paint(image, horn, level["csf"])

    _paint_lesions(image, head, level, (x, y, z), radius, brain, folds)
    return image


def _paint_lesions(
    image: np.ndarray,
    head: Head,
    level: dict[str, float],
    position: tuple[np.ndarray, np.ndarray, np.ndarray],
    radius: np.ndarray,
    brain: np.ndarray,
    folds: np.ndarray,
) -> None:
    """Paint mass, infarct and haemorrhage within the brain, in place."""
    mass = head.find("mass")
    if mass is not None:
        u, v, w = (p - q for p, q in zip(position, mass.centre_mm, strict=True))
        distance = np.sqrt(u * u + v * v + w * w)
        ragged = OEDEMA_RATIO * mass.size_mm * (1 + 0.15 * folds)
        _paint(image, brain * _inside(distance - ragged), level["oedema"])
        _paint(image, brain * _inside(distance - mass.size_mm), level["tumour"])
    infarct = head.find("infarct")
    if infarct is not None:  # a cone from its apex to the cortex
        u, v, w = (p - q for p, q in zip(position, infarct.centre_mm, strict=True))
        along = _dot((u, v, w), infarct.direction)
        across = np.sqrt(np.maximum(u * u + v * v + w * w - along * along, 0))
        wedge = across - np.maximum(along, -4) * (infarct.size_mm / INFARCT_LENGTH_MM)
        _paint(image, brain * _inside(wedge), level["infarct"])
    bleed = head.find("haemorrhage")
    if bleed is not None:  # thickest at its centre, tapering along the inner table
        a, b, c = head.semi_axes_mm
        p, q, r = bleed.direction
        cosine = _dot(position, (p / a, q / b, r / c)) / np.maximum(radius, 0.001)
        depth_mm = bleed.size_mm * np.maximum(0, 1 - (1 - cosine) / BLEED_EXTENT)
        crescent = (BRAIN_SHRINK - radius) * ((a + b + c) / 3) - depth_mm
        _paint(image, brain * _inside(crescent) * (depth_mm > 0), level["blood"])


def _dot(position: tuple[np.ndarray, np.ndarray, np.ndarray], direction: Vector) -> np.ndarray:
    """Scalar product of every position with a vector."""
    x, y, z = position
    return x * direction[0] + y * direction[1] + z * direction[2]


def _inside(distance_mm: np.ndarray) -> np.ndarray:
    """Soft mask: 1 where the signed distance is below -2 mm, 0 above +2 mm (partial volume)."""
    return np.clip(0.5 - 0.25 * distance_mm, 0, 1)


def _ball(x: np.ndarray, y: np.ndarray, z: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    """Soft mask of an ellipsoid at the origin with those semi-axes in mm."""
    radius = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    return _inside((radius - 1) * ((a + b + c) / 3))


def _paint(image: np.ndarray, mask: np.ndarray, level: float) -> None:
    """Blend a signal level into the image where the mask is, in place."""
    image += mask * (np.float32(level) - image)


def _rotation(about_x: float, about_y: float, about_z: float) -> np.ndarray:
    """3 x 3 rotation from three angles in radians."""
    cx, sx, cy, sy = np.cos(about_x), np.sin(about_x), np.cos(about_y), np.sin(about_y)
    cz, sz = np.cos(about_z), np.sin(about_z)
    turn_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return turn_z @ turn_y @ turn_x


def _unit(vector: np.ndarray) -> Vector:
    return _triple(vector / np.linalg.norm(vector))


def _triple(vector: np.ndarray) -> Vector:
    x, y, z = (float(v) for v in vector)
    return x, y, z
