"""Names of members, and the schema of `KEY.json`.

In: a `Study`. Out: plain JSON values for its metadata, and back again without loss. A sample is
`KEY.json` first, then `KEY.s00.npy`, `KEY.s01.npy`, ... (`.npy.zst` when compressed). Keys hold no
dot, because webdataset splits a member's name at the first one. The schema is checked at both ends
by the same pydantic models, and what is written also against the allow-list of `shards.allowed`:
the last gate of de-identification.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from shards import allowed
from shards.allowed import KEY_PATTERN, SPLITS
from study.errors import UserError
from study.records import Matrix, Report, Scan, Study, Vector

__all__ = ["KEY_PATTERN", "SPLITS"]

SCHEMA_VERSION = 1
"""Of everything this folder writes. It grows with every change of a field, an added one too, since
readers refuse fields that they do not know; a reader takes its own version and all before it, and
refuses a higher one."""

SUFFIX = {"none": ".npy", "zstd": ".npy.zst"}
"""`shards.compression` of the configuration -> ending of an array's member."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MEMBER = re.compile(r"([A-Za-z0-9_-]{1,64})\.(?:json|s([0-9]{2,})\.npy(?:\.zst)?)")

Acquisition = str | int | FiniteFloat
Triple = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Rows = Annotated[
    tuple[tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat], ...],
    Field(min_length=4, max_length=4),
]
"""A 4 x 4 matrix."""


def metadata_member(key: str) -> str:
    """Name of a sample's first member."""
    return f"{key}.json"


def scan_member(key: str, scan: int, compression: str) -> str:
    """Name of the member that holds scan number `scan` (from 0)."""
    return f"{key}.s{scan:02d}{SUFFIX[compression]}"


def parse_member(name: str) -> tuple[str, int | None]:
    """Key and number of the scan (None: the metadata) of a member. ValueError for a name that is
    not ours."""
    match = _MEMBER.fullmatch(name)
    if match is None:
        raise ValueError(f"member {name!r} is not KEY.json, KEY.s00.npy or KEY.s00.npy.zst")
    return match[1], None if match[2] is None else int(match[2])


def shard_stem(shard: int) -> str:
    """Name that a shard's files share: 00000.tar, 00000.parquet, 00000_stats.json."""
    return f"{shard:05d}"


class Record(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )


class ScanMeta(Record):
    """All of a scan but its array, which `member` names: one volume, resampled, in one intensity
    window."""

    member: Annotated[str, Field(pattern=r"^s\d{2,}$")]
    """Middle part of the array's member: KEY.<member>.npy, or KEY.<member>.npy.zst."""
    shape: tuple[int, int, int]
    """(D, H, W): slices, rows, columns."""
    dtype: str
    """Of numpy: uint8 (0 to 255 over the window), uint16 (0 to 65535) or float16 (0 to 1)."""
    modality: str
    """As DICOM names it."""
    plane: Literal["axial", "coronal", "sagittal"]
    """The plane nearest to that of the stored slices."""
    window: str
    """Name of the intensity window: percentile, brain, blood, bone, ..."""
    window_limits: tuple[FiniteFloat, FiniteFloat]
    """Source values that became the lowest and the highest stored value (HU for CT)."""
    spacing_mm: Triple
    """Of the stored grid along D, H, W."""
    affine: Rows
    """By row: index (d, h, w, 1) of a voxel's centre in the array -> millimetres in LPS (x to the
    patient's left, y to the back, z to the head)."""
    source_shape: tuple[int, int, int]
    """Slices, rows, columns of the native grid."""
    source_spacing_mm: Triple
    """Of the native grid along slices, rows, columns."""
    source_affine: Rows
    """As `affine`, for the native grid (slice, row, column, 1)."""
    series_index: int
    """Scans with the same number come from one source volume (windows of a CT)."""
    flags: tuple[str, ...]
    """What a reader should know of the source: a tilted gantry, filled slices, ..."""
    acquisition: dict[str, Acquisition]
    """Technical facts of the source; what is unknown is absent. Units are in the names."""
    digest: str
    """Keyed digest of the source instances: tells whether the source changed, and nothing else."""


class ReportMeta(Record):
    """The text of a study."""

    sentences: dict[str, tuple[str, ...]]
    """Summariser -> its sentences, each one finding."""
    text: str
    """The scrubbed report; empty where there is none."""


class StudyMeta(Record):
    """`KEY.json`: one study without its arrays."""

    schema_version: int
    """Of this file. A reader refuses one that is higher than its own."""
    key: Annotated[str, Field(pattern=f"^{KEY_PATTERN}$")]
    """Pseudonym of the study: a keyed hash. The sample's name in the tar."""
    patient: Annotated[str, Field(pattern=f"^{KEY_PATTERN}$")]
    """Pseudonym of the patient, made the same way."""
    split: Literal["train", "valid", "test"]
    """All studies of a patient are in one."""
    age_years: Annotated[int, Field(ge=0, le=90)] | None
    """90 stands for 90 and over; more would identify."""
    sex: Literal["", "F", "M", "O"]
    """As DICOM's PatientSex; empty where unknown."""
    labels: dict[str, FiniteFloat]
    """Label -> 0 or 1 (between: uncertain). A missing name is an unknown label."""
    report: ReportMeta
    scans: tuple[ScanMeta, ...]
    """In the order of the arrays in the tar."""


def study_to_json(study: Study) -> dict[str, Any]:
    """Metadata of a study as plain JSON values. ValueError for what the schema or the allow-list
    does not allow; it names the field, not the value."""
    meta = StudyMeta(
        schema_version=SCHEMA_VERSION,
        key=study.key,
        patient=study.patient,
        split=study.split,  # type: ignore[arg-type]  # checked by the model
        age_years=study.age_years,
        sex=study.sex,  # type: ignore[arg-type]
        labels=dict(study.labels),
        report=ReportMeta(sentences=dict(study.report.sentences), text=study.report.text),
        scans=tuple(_scan_meta(number, scan) for number, scan in enumerate(study.scans)),
    )
    plain: dict[str, Any] = meta.model_dump(mode="json")
    allowed.refuse_misfits(allowed.misfits(plain, allowed.STUDY))
    return plain


def study_from_json(meta: dict[str, Any], arrays: Sequence[np.ndarray]) -> Study:
    """The study that `study_to_json` described, around its arrays (in the order of its scans).

    ValueError where the metadata breaks the schema or an array has another shape or dtype than it
    says.
    """
    check_version(meta.get("schema_version"))
    checked = StudyMeta.model_validate(meta)
    if len(arrays) != len(checked.scans):
        raise ValueError(
            f"{len(arrays)} arrays for the {len(checked.scans)} scans of {checked.key}"
        )
    scans = tuple(_scan(m, a) for m, a in zip(checked.scans, arrays, strict=True))
    report = Report(sentences=dict(checked.report.sentences), text=checked.report.text)
    return Study(
        key=checked.key,
        patient=checked.patient,
        split=checked.split,
        scans=scans,
        report=report,
        labels=dict(checked.labels),
        age_years=checked.age_years,
        sex=checked.sex,
    )


def check_version(version: Any) -> None:
    """UserError for what a newer dicom2clip wrote, ValueError for what is no version at all."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"schema version {version!r} is not a number from 1 to {SCHEMA_VERSION}")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"schema version {version}, this program reads up to {SCHEMA_VERSION}: use a newer "
            "dicom2clip"
        )


def to_bytes(value: Any) -> bytes:
    """JSON of one line: sorted keys, no spaces, ASCII. Equal values give equal bytes."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def check_key(key: str) -> None:
    """ValueError for what cannot be the key of a sample or of a patient."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"key {key!r} is not 1 to 64 letters, digits, hyphens or underscores")


def _scan_meta(number: int, scan: Scan) -> ScanMeta:
    if scan.array.ndim != 3:
        raise ValueError(f"scan {number} has shape {scan.array.shape}; a scan is (D, H, W)")
    depth, height, width = scan.array.shape
    return ScanMeta(
        member=f"s{number:02d}",
        shape=(depth, height, width),
        dtype=str(scan.array.dtype),
        modality=scan.modality,
        plane=scan.plane,  # type: ignore[arg-type]
        window=scan.window,
        window_limits=scan.window_limits,
        spacing_mm=scan.spacing_mm,
        affine=scan.affine,
        source_shape=scan.source_shape,
        source_spacing_mm=scan.source_spacing_mm,
        source_affine=scan.source_affine,
        series_index=scan.series_index,
        flags=scan.flags,
        acquisition=dict(scan.acquisition),
        digest=scan.digest,
    )


def _scan(meta: ScanMeta, array: np.ndarray) -> Scan:
    if array.shape != meta.shape or str(array.dtype) != meta.dtype:
        found = f"{array.dtype} {array.shape}"
        raise ValueError(
            f"array of {meta.member} is {found}, its metadata says {meta.dtype} {meta.shape}"
        )
    affine: Matrix = meta.affine
    spacing_mm: Vector = meta.spacing_mm
    return Scan(
        array=array,
        modality=meta.modality,
        plane=meta.plane,
        window=meta.window,
        window_limits=meta.window_limits,
        spacing_mm=spacing_mm,
        affine=affine,
        source_shape=meta.source_shape,
        source_spacing_mm=meta.source_spacing_mm,
        source_affine=meta.source_affine,
        series_index=meta.series_index,
        flags=meta.flags,
        acquisition=dict(meta.acquisition),
        digest=meta.digest,
    )
