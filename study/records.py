"""The nouns that flow: Instance -> ScanPlan -> Scan -> Study | Rejection.

In: nothing. Out: frozen records that the folders pass to each other, and nothing that does work.
Patient space is DICOM's LPS in millimetres (x to the patient's left, y to the back, z to the head);
a position is that of a voxel's centre (DICOM PS3.3 C.7.6.2.1.1). Arrays of a scan are (D, H, W):
slices, rows, columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

Vector = tuple[float, float, float]
"""Three numbers: millimetres in LPS, or (D, H, W) spacings where the name says so."""

Matrix = tuple[tuple[float, float, float, float], ...]
"""A 4 x 4 affine, row by row."""


class Status(StrEnum):
    """What became of an input file, or of a frame of a multi-frame file. Every row of the ledger
    has one."""

    USED = "used"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why something was left out. A shard carries these codes, never free text about them."""

    NOT_DICOM = "NOT_DICOM"
    TRUNCATED = "TRUNCATED"
    UNREADABLE = "UNREADABLE"
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    UNSUPPORTED_SOP_CLASS = "UNSUPPORTED_SOP_CLASS"
    UNSUPPORTED_PHOTOMETRIC = "UNSUPPORTED_PHOTOMETRIC"
    UNDECODABLE_TRANSFER_SYNTAX = "UNDECODABLE_TRANSFER_SYNTAX"
    UNDECODABLE_PIXELS = "UNDECODABLE_PIXELS"
    DECODE_CRASH = "DECODE_CRASH"
    DECODE_TIMEOUT = "DECODE_TIMEOUT"
    DECODE_MEMORY = "DECODE_MEMORY"
    MISSING_GEOMETRY = "MISSING_GEOMETRY"
    MISSING_UID = "MISSING_UID"
    DUPLICATE_INSTANCE = "DUPLICATE_INSTANCE"
    SOP_UID_COLLISION = "SOP_UID_COLLISION"
    LOCALIZER = "LOCALIZER"
    DERIVED_SECONDARY = "DERIVED_SECONDARY"
    DERIVED_MAP = "DERIVED_MAP"
    PHASE_MAP = "PHASE_MAP"
    SCREEN_SAVE = "SCREEN_SAVE"
    BURNED_IN_ANNOTATION = "BURNED_IN_ANNOTATION"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    POSITIONS_NOT_UNIQUE = "POSITIONS_NOT_UNIQUE"
    SLICE_SPACING_IRREGULAR = "SLICE_SPACING_IRREGULAR"
    RESCALE_INCONSISTENT = "RESCALE_INCONSISTENT"
    MISSING_SLICES = "MISSING_SLICES"
    REDUNDANT_TIMEPOINT = "REDUNDANT_TIMEPOINT"
    INTENSITY_CONSTANT = "INTENSITY_CONSTANT"
    MASK = "MASK"
    TOO_LARGE = "TOO_LARGE"
    PATIENT_MISMATCH = "PATIENT_MISMATCH"
    NOT_SELECTED = "NOT_SELECTED"
    NO_SCANS = "NO_SCANS"
    NO_REPORT = "NO_REPORT"
    DAMAGED = "DAMAGED"
    """Its sample was damaged within the dataset, and `shards repair` took it out."""


FAILURE_REASONS = frozenset(
    {
        Reason.TRUNCATED,
        Reason.UNREADABLE,
        Reason.UNDECODABLE_PIXELS,
        Reason.UNDECODABLE_TRANSFER_SYNTAX,
        Reason.DECODE_CRASH,
        Reason.DECODE_TIMEOUT,
        Reason.DECODE_MEMORY,
        Reason.SOP_UID_COLLISION,
        Reason.PATIENT_MISMATCH,
        Reason.DAMAGED,
    }
)
"""Reasons that mean damage or a limit of ours rather than a rule: with one of them the command
exits 3."""


class Rejection(NamedTuple):
    """Why something was left out, as a value that is counted and written.

    `detail` is for the run folder only: it may hold header values and never goes into a dataset.
    """

    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Instance:
    """The header facts of one image: a file, or one frame of a multi-frame file. One row of
    `instances.parquet`.

    Fields have DICOM's keyword in snake case with the unit added. What is missing in the file is
    None or empty.
    """

    path: str
    """Where the file is. A member of an archive is ARCHIVE!/MEMBER (see `ingest.place`)."""
    frame: int = 0
    """Index of the frame in its file from 0; 0 for a single-frame file."""
    num_frames: int = 1
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    patient_key: str = ""
    """IssuerOfPatientID and PatientID joined: identifies the patient, stays in the run folder."""
    accession_number: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    manufacturer: str = ""
    series_number: int | None = None
    acquisition_number: int | None = None
    instance_number: int | None = None
    study_description: str = ""
    series_description: str = ""
    protocol_name: str = ""
    body_part: str = ""
    study_date: str = ""
    content_time: str = ""
    acquisition_time: str = ""
    patient_age: str = ""
    patient_sex: str = ""
    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 1
    photometric: str = ""
    position_mm: Vector | None = None
    """ImagePositionPatient: the centre of the first voxel, LPS."""
    orientation: tuple[float, float, float, float, float, float] | None = None
    """ImageOrientationPatient: direction of a row (along columns), then of a column (along rows),
    LPS."""
    pixel_spacing_mm: tuple[float, float] | None = None
    """PixelSpacing: between rows (y), between columns (x)."""
    slice_thickness_mm: float | None = None
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    b_value_s_per_mm2: float | None = None
    diffusion_direction: tuple[float, ...] | None = None
    temporal_position: int | None = None
    trigger_time_ms: float | None = None
    magnetic_field_t: float | None = None
    kvp_kv: float | None = None
    convolution_kernel: str = ""
    gantry_tilt_deg: float | None = None
    burned_in_annotation: str = ""
    mosaic_tiles: int = 0
    """Number of slices in this one image (Siemens or UIH mosaic, NIfTI or npz volume), 0 for a
    plain image."""
    tiles_across: int = 0
    """Tiles in a row of a mosaic; 0 where slices are stored one after the other (NIfTI, npz), and
    `rows` and `columns` are those of a slice."""
    slice_normal: Vector | None = None
    """Mosaics and volumes: direction from one tile to the next, LPS, unit length."""
    spacing_between_slices_mm: float | None = None
    frame_of_reference_uid: str = ""
    echo_number: int | None = None
    stack_id: str = ""
    dimension_index: tuple[float, ...] = ()
    """DimensionIndexValues of a frame, whole numbers: trusted only where geometry ties."""
    volume_number: int | None = None
    """Vendors' own number of the volume within a 4D series: GE, Philips."""
    component: str = ""
    """MAGNITUDE, PHASE, REAL or IMAGINARY, where a tag or the vendor says so; else empty."""
    coil_name: str = ""
    cardiac_phase_percent: float | None = None
    reconstruction_diameter_mm: float | None = None
    series_time: str = ""
    patient_position: str = ""
    rescale_type: str = ""
    bits_stored: int | None = None
    is_lossy: bool = False
    """LossyImageCompression says 01, or the transfer syntax is a lossy one."""
    is_capture: bool = False
    """A secondary capture device or date is named: made from a screen or film (CTP's rule)."""
    is_localizer_plane: bool = False
    """GE's private series plane says localizer (256)."""
    file_format: str = "dicom"
    """dicom, nifti or npz."""
    stored_in: str = ""
    """The file that holds the bytes, where that is not `path`: an archive, or what was unpacked
    of one."""
    stored_at: int = 0
    """Offset of the bytes in `stored_in`."""
    has_pixels: bool = True
    identifying: tuple[str, ...] = ()
    """Header values that name people, places or visits: they seed the scrubbing of the report, and
    go nowhere else."""
    pixel_digest: str = ""
    """SHA-256 of the decoded pixels; read only where SOP UIDs or positions repeat."""
    file_bytes: int = 0
    file_mtime_ns: int = 0
    reason: Reason | None = None
    """Set when the crawl already found that this file cannot be used; every other fact may then be
    missing."""
    detail: str = ""


FLAGS = frozenset(
    {
        "GANTRY_TILT",
        "IN_PLANE_SHIFT",
        "VARIABLE_SPACING",
        "FILLED_SLICES",
        "SPACING_TAG_DIFFERS",
        "GEOMETRY_ASSUMED",
        "LIMITS_ASSUMED",
    }
)
"""What a scan may be marked with: tilted or sheared slices; slices that shift in plane off any
line; uneven spacing, resampled; missing slices, interpolated; a SpacingBetweenSlices that the
positions deny; a scan that came without geometry, or without its window's limits: what stands there
is a guess (HLIP's files)."""


@dataclass(frozen=True)
class Slice:
    """Where the pixels of one slice of a scan are: file, frame, and tile of a mosaic (-1: the whole
    frame)."""

    path: str
    frame: int
    tile: int = -1
    stored_in: str = ""
    """As in `Instance`: the file that holds the bytes, where that is not `path`."""
    stored_at: int = 0
    num_bytes: int = 0
    """Of the file that the slice is in."""
    file_format: str = "dicom"


@dataclass(frozen=True)
class ScanPlan:
    """One volume to be read: its slices in order along the normal, and its geometry before any
    resampling."""

    study_uid: str
    series_uid: str
    index: int
    """Which volume of its series, from 0."""
    modality: str
    slices: tuple[Slice, ...]
    sop_uids: tuple[str, ...]
    rows: int
    columns: int
    origin_mm: Vector
    row_direction: Vector
    """Direction in which the column index grows."""
    column_direction: Vector
    """Direction in which the row index grows."""
    slice_step_mm: Vector
    """From one slice to the next: the median step. Not along the normal when the gantry was
    tilted."""
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    """Median gap between slices, projected on the normal."""
    offsets_mm: tuple[float, ...]
    """Position of every slice along the normal, from the first slice."""
    drift_mm: tuple[tuple[float, float], ...]
    """In-plane shift of every slice against the first along (row_direction, column_direction): 0
    unless tilted."""
    flags: tuple[str, ...] = ()
    """What a reader should know, of FLAGS."""
    split_by: str = ""
    """What told this volume from the others of its series; empty: nothing had to."""
    series_number: int | None = None
    acquisition_number: int | None = None
    acquisition: Mapping[str, str | float | int] = field(default_factory=dict)
    """Technical facts on the allow-list (see `ingest.deidentify`)."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One volume as a model sees it, and how it came about.

    `array` is (D, H, W) uint8, or uint16 or float16 where the settings say so. `affine` maps the
    index (d, h, w, 1) of a voxel's centre in `array` to LPS millimetres; `source_affine` does so
    for the native grid (slice, row, column, 1), once straightened.
    """

    array: np.ndarray
    modality: str
    plane: str
    """axial, coronal or sagittal: the plane nearest to that of the stored slices."""
    window: str
    """Name of the intensity window: percentile, brain, blood, bone, ..."""
    window_limits: tuple[float, float]
    """Source values that became 0 and 255 (HU for CT)."""
    spacing_mm: Vector
    """Of the stored grid along D, H, W."""
    affine: Matrix
    source_shape: tuple[int, int, int]
    source_spacing_mm: Vector
    source_affine: Matrix
    series_index: int = 0
    """Scans with the same number within a study come from one source volume (windows of a CT)."""
    flags: tuple[str, ...] = ()
    acquisition: Mapping[str, str | float | int] = field(default_factory=dict)
    digest: str = ""
    """Keyed digest of the source instances: tells whether the source changed, and nothing else."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scan):
            return NotImplemented
        mine, theirs = dict(vars(self)), dict(vars(other))
        a, b = mine.pop("array"), theirs.pop("array")
        return mine == theirs and a.dtype == b.dtype and np.array_equal(a, b)


@dataclass(frozen=True)
class Report:
    """The text of a study: sentences by summariser variant, and the (scrubbed) report they come
    from."""

    sentences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class Study:
    """One sample of the dataset. Reading a shard returns the very Study that ingestion made."""

    key: str
    """Pseudonym: keyed hash of StudyInstanceUID, 32 hexadecimal digits."""
    patient: str
    """Pseudonym of the patient, made the same way."""
    split: str
    """train, valid or test; all studies of a patient are in one."""
    scans: tuple[Scan, ...]
    report: Report = field(default_factory=Report)
    labels: Mapping[str, float] = field(default_factory=dict)
    """Label name -> 0 or 1 (between: uncertain). A missing name is an unknown label."""
    age_years: int | None = None
    """At most 90, which stands for 90 and over."""
    sex: str = ""
