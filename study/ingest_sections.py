"""What `pipelines.yaml` may say under `ingest`, every field with its meaning, unit and effect.

In: the values of the section. Out: typed, checked settings. What shapes a dataset's arrays enters
its fingerprint (see `ingest.refusals.shaping_settings`); what only changes speed is in `speed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from study.cluster_sections import Cluster, Tls
from study.llm_sections import Labeler, Summarizer
from study.quantities import Age, Day, Fraction, Length, Positive, Size, size_bytes
from study.section import Section


class Select(Section):
    """Which images are wanted. What is left out is counted in the ledger as NOT_SELECTED. What a
    header lacks does not match a criterion that is set."""

    modalities: tuple[str, ...] = ("CT", "MR")
    """DICOM Modality codes to take."""
    body_parts: tuple[str, ...] = ()
    """BodyPartExamined values to take (case ignored); empty takes all, also series without one."""
    description_has: tuple[str, ...] = ()
    """Words of which one must be in the study, series or protocol name (case ignored); empty takes
    all."""
    description_lacks: tuple[str, ...] = ()
    """Words of which none may be there."""
    age_years: tuple[Age | None, Age | None] | None = None
    """Youngest and oldest PatientAge to take, in completed years, both included; null leaves an end
    open: [18, null]."""
    study_dates: tuple[Day | None, Day | None] | None = None
    """First and last StudyDate to take, both included, as YYYY-MM-DD or YYYYMMDD; null leaves an
    end open."""
    study_uids: tuple[str, ...] = ()
    """StudyInstanceUIDs to take; empty takes all."""
    study_uids_file: str = ""
    """Text file with more of them, one a line; # begins a comment line."""
    accession_numbers: tuple[str, ...] = ()
    """Accession numbers to take (quote them: YAML reads 00123 as a number); empty takes all."""
    accession_numbers_file: str = ""
    """Text file with more of them, one a line; # begins a comment line."""

    @field_validator("age_years", "study_dates")
    @classmethod
    def _in_order(cls, limits: tuple[Any, Any] | None) -> tuple[Any, Any] | None:
        if limits is not None and None not in limits and limits[0] > limits[1]:
            raise ValueError(f"from {limits[0]} to {limits[1]} is the wrong way round")
        return limits

    @cached_property
    def wanted_studies(self) -> frozenset[str]:
        """`study_uids` for looking up: lists may be long, and every image is looked up."""
        return frozenset(self.study_uids)

    @cached_property
    def wanted_accessions(self) -> frozenset[str]:
        return frozenset(self.accession_numbers)


class Rules(Section):
    """When a series is a scan worth training on."""

    min_slices: Positive = 4
    """Fewer distinct slice positions reject a volume as TOO_FEW_SLICES."""
    max_missing_slices: Annotated[int, Field(ge=0)] = 0
    """Gaps of whole slices that are filled by interpolation; more reject the volume as
    MISSING_SLICES."""
    max_volumes_per_series: Positive = 2
    """A 4D series keeps this many volumes, evenly spaced; the others are REDUNDANT_TIMEPOINT."""
    keep_derived_maps: tuple[str, ...] = ("ADC", "TRACEW")
    """Scanner-made maps, by a word of ImageType, that are kept; other derived maps are
    DERIVED_MAP."""
    max_voxels: Positive = 1_000_000_000
    """A volume of more voxels is TOO_LARGE; it is never decoded."""


class Grid(Section):
    """The array that the model sees, (D, H, W), and how a volume gets there."""

    depth: Positive = 48
    """Slices D of a stored scan."""
    resize: Positive = 256
    """In-plane size after padding to a square, before the crop."""
    size: Positive = 224
    """Height and width of the centre crop that is stored."""
    depth_interpolation: Literal["nearest", "linear", "area"] = "nearest"
    """How D slices are made of the native ones: HLIP's nearest choice, linear, or the mean of those
    that fall into a slice (no slice is ignored)."""
    in_plane_interpolation: Literal["linear", "area"] = "linear"
    """How H and W are resized: HLIP's bilinear, or the mean over a voxel (no aliasing)."""
    spacing_mm: tuple[Length, Length, Length] | None = None
    """(D, H, W) voxel size in mm to resample to before padding or cropping to (depth, size, size),
    as HLIP does for chests; D is then the head-foot axis, whatever the spacings (thin chest CT is
    finer along it than in plane). None scales every volume to fill the grid, as HLIP does for
    heads, and D is the axis of largest spacing."""
    reorient: bool = True
    """Turn volumes to R-P-I and choose D. False keeps slices, rows and columns as the files have
    them (HLIP's CT-RATE)."""
    dtype: Literal["uint8", "uint16", "float16"] = "uint8"
    """Of stored voxels: 0 to 255, 0 to 65535, or 0 to 1 over the window. Training and evaluation
    read uint8; the others are for measurements."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Grid:
        if self.spacing_mm is None and self.size > self.resize:
            raise ValueError(f"size {self.size} cannot be cropped out of resize {self.resize}")
        return self


class Intensity(Section):
    """Which source values become 0 and 255."""

    mr_percentiles: tuple[float, float] = (0.5, 99.5)
    """Clip limits of MR, over all native voxels of the volume."""
    ct_windows: Mapping[str, tuple[float, float]] = {
        "brain": (40.0, 80.0),
        "blood": (80.0, 200.0),
        "bone": (600.0, 2800.0),
    }
    """Name -> (centre, width) in HU. Each window makes a scan of its own, in the order of names."""

    @field_validator("mr_percentiles")
    @classmethod
    def _percentiles(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= limits[0] < limits[1] <= 100:
            raise ValueError("two percentiles from 0 to 100, the lower one first")
        return limits

    @field_validator("ct_windows")
    @classmethod
    def _widths(cls, windows: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (_, width) in windows.items():
            if not re.fullmatch(r"[A-Za-z][A-Za-z_ -]{0,30}\d{0,3}", name):
                raise ValueError(
                    f"window {name!r}: a name has letters, then up to three digits; it stands in "
                    "the dataset"
                )
            if not width > 0:
                raise ValueError(
                    f"window {name!r} has width {width}; a width is a positive number of HU"
                )
        return windows


class Columns(Section):
    """Names of the columns of a reports or labels table. What is not named is guessed from known
    spellings (StudyInstanceUID, study_uid, AccessionNumber, MRN, report, findings, ...); a guess
    that could go two ways is refused."""

    study_uid: str = ""
    """Holds the StudyInstanceUID, or what stands for it (see `pattern`)."""
    accession: str = ""
    """Holds the accession number, which joins together with `patient` where there is no
    StudyInstanceUID; never alone, because it collides between patients."""
    patient: str = ""
    """Holds the PatientID."""
    issuer: str = ""
    """Holds the IssuerOfPatientID, where patients of several issuers share an archive."""
    text: tuple[str, ...] = ()
    """Holds the report text; several are joined in this order, each under its name as a
    heading."""
    labels: tuple[str, ...] = ()
    """Hold the labels; empty: all that hold neither keys nor texts."""
    pattern: str = ""
    """Regular expression searched in the `study_uid` column, and in the path (below the folder of
    reports) of a report that is a file of its own. Its group `study`, or its groups `accession` and
    `patient`, are what joins: (?P<patient>[^/]+)/(?P<accession>[^/]+)[.]txt. Empty: the whole cell,
    or the file's name without its suffix."""

    @field_validator("text", "labels", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return ((value,) if value else ()) if isinstance(value, str) else value

    @field_validator("pattern")
    @classmethod
    def _names_a_study(cls, pattern: str) -> str:
        groups = _groups_of(pattern)
        if pattern and "study" not in groups and not {"accession", "patient"} <= groups:
            raise ValueError(
                "a pattern needs a group named study, or groups named accession and patient: "
                "(?P<study>...)"
            )
        return pattern


def _groups_of(pattern: str) -> set[str]:
    try:
        return set(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None


class VolumeFiles(Section):
    """NIfTI and .npz volumes: what their headers do not say."""

    modality: Literal["CT", "MR"] = "MR"
    """What the values are: HU (CT) or anything else (MR)."""
    pattern: str = ""
    """Regular expression searched in the path below the source, with a group `study` and perhaps
    one `patient`: (?P<study>(?P<patient>train_\\d+)_[a-z])_\\d+. Empty: the folder of a file is its
    study, or its own name where it lies in the source itself."""
    npz_key: Annotated[str, Field(min_length=1)] = "ct"
    """Array of an .npz file."""
    npz_spacing_mm: tuple[Length, Length, Length] = (0.8, 0.8, 0.8)
    """(D, H, W) voxel size of .npz arrays, which hold none (Rad-ChestCT: 0.8 mm)."""

    @field_validator("pattern")
    @classmethod
    def _names_a_study(cls, pattern: str) -> str:
        groups = _groups_of(pattern)
        if pattern and "study" not in groups:
            raise ValueError("a pattern needs a group named study: (?P<study>...)")
        return pattern


LEAST_MEMORY = 500 * 10**6
"""Bytes: workers with 300 MB start, then die of their first task; with 100 MB they start for
ever."""


class IngestSpeed(Section):
    """What changes only how fast ingestion goes."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Worker processes on this machine; 0 takes one per CPU. Never more than there is memory
    for."""
    scheduler: str = ""
    """Address of a running dask scheduler (tcp://..., or tls://... with `tls`); empty starts
    workers on this machine, or by `cluster`."""
    cluster: Cluster = Cluster()
    tls: Tls = Tls()
    performance_report: bool = True
    """Write RUN/performance.html, dask's own account of who did what when, after a run of a minute
    or more. Needs the package `bokeh`."""
    memory_limit: Size = "2GB"
    """Of one worker."""
    answers: str = ""
    """Folder of what language models have answered, which several pipelines may share; empty:
    RUN/llm."""
    max_retries: Annotated[int, Field(ge=0)] = 2
    """Times a shard is tried again after an input/output error."""
    decode_cpu_s: Annotated[float, Field(gt=0)] = 120.0
    """CPU seconds that reading one volume may take in the decoding process; more, twice, rejects it
    as DECODE_TIMEOUT."""
    decode_memory: Size = "6GB"
    """Address space of the decoding process; a volume that needs more, twice, is DECODE_MEMORY."""

    @field_validator("memory_limit", "decode_memory")
    @classmethod
    def _room_for_python(cls, text: str) -> str:
        if size_bytes(text) < LEAST_MEMORY:
            raise ValueError(f"a process needs {LEAST_MEMORY // 10**6}MB before it reads a file")
        return text

    @model_validator(mode="after")
    def _one_place(self) -> IngestSpeed:
        if self.scheduler and self.cluster.system:
            raise ValueError("either scheduler (one that runs) or cluster (jobs of its own)")
        if self.scheduler and self.tls.temporary:
            raise ValueError("tls.temporary is for workers of our own; scheduler needs tls files")
        if self.scheduler.startswith("tls://") and not self.tls.is_on:
            raise ValueError(f"scheduler {self.scheduler} needs tls: {{ca, cert, key}}")
        if self.tls.is_on and self.scheduler and not self.scheduler.startswith("tls://"):
            raise ValueError(f"scheduler {self.scheduler}: with tls the address begins with tls://")
        return self


class Ingest(Section):
    """DICOM and reports -> shards."""

    source: tuple[str, ...] = ()
    """Folders with DICOM files, read to any depth."""
    reports: tuple[str, ...] = ()
    """Files, or folders of files, with a row a report: CSV (separated by commas, semicolons, tabs
    or bars), Parquet, JSON lines; or a report a file: .txt, DICOM SR. Empty: no texts."""
    labels: tuple[str, ...] = ()
    """Files with a row a study: its UID and a column of 0, 1 or nothing for every label. Empty: no
    labels."""
    report_source: Literal["table", "sr", "facts"] = "table"
    """table reads `reports`; sr takes the texts of the DICOM SR documents among the images; facts
    writes reports and labels from the headers of the series themselves (modality, plane, contrast,
    slices): for trying a folder out that has no reports."""
    several_reports: Literal["join", "last", "reject"] = "join"
    """Where rows of one study differ (a report and its addenda): their texts are joined in the
    order of the rows, the last row counts, or none does and the study is without a report. Labels
    of several rows are joined unless they contradict each other. Equal rows are one."""
    columns: Columns = Columns()
    volume_files: VolumeFiles = VolumeFiles()
    max_unpacked: Size = "200GB"
    """Bytes that one compressed archive or file may unpack to (into the run folder's `unpacked`); a
    larger one is TOO_LARGE."""
    summarizers: tuple[Summarizer, ...] = ()
    """Language models that turn reports into sentences, each a variant of its own beside `offline`.
    """
    labelers: tuple[Labeler, ...] = ()
    """Sets of labels that are made from the reports, beside those of `labels`."""
    without_report: Literal["keep", "reject"] = "keep"
    """What becomes of a study that has no report: kept (without sentences), or rejected as
    NO_REPORT."""
    presidio: bool = False
    """Also scrub names in prose and telephone numbers that presidio finds in English reports. Needs
    the extra `presidio` and a spaCy pipeline; some 50 ms a report, 600 MB a worker."""
    presidio_model: Annotated[str, Field(min_length=1)] = "en_core_web_md"
    """Installed spaCy pipeline for English that presidio finds names with, or the folder of one, in
    the same place on all workers."""
    select: Select = Select()
    rules: Rules = Rules()
    grid: Grid = Grid()
    intensity: Intensity = Intensity()
    valid_fraction: Fraction = 0.1
    """Share of patients in the split `valid`."""
    test_fraction: Fraction = 0.1
    """Share of patients in the split `test`."""
    speed: IngestSpeed = IngestSpeed()

    @model_validator(mode="after")
    def _fractions(self) -> Ingest:
        if self.valid_fraction + self.test_fraction > 1:
            raise ValueError("valid_fraction and test_fraction add up to more than 1")
        return self

    @field_validator("summarizers")
    @classmethod
    def _differ(cls, summarizers: tuple[Summarizer, ...]) -> tuple[Summarizer, ...]:
        names = [summarizer.variant for summarizer in summarizers]
        if len(names) > len(set(names)):
            raise ValueError(f"two summarizers of one variant; they are {', '.join(sorted(names))}")
        return summarizers

    @field_validator("labelers")
    @classmethod
    def _sets_differ(cls, labelers: tuple[Labeler, ...]) -> tuple[Labeler, ...]:
        names = [labeler.label_set for labeler in labelers]
        if len(names) > len(set(names)):
            raise ValueError(f"two labelers of one label_set: {', '.join(sorted(names))}")
        return labelers

    @field_validator("source", "reports", "labels", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return ((value,) if value else ()) if isinstance(value, str) else value


# -------------------------------------------------------------------------------- shards
