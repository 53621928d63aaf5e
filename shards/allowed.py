"""The allow-list: every field that a dataset may hold, and what it may be: words, a form, a range.

In: the values of a study (`KEY.json`), of a row of a table, of a commit record, of `dataset.json`.
Out: the paths of values that do not fit; the writers refuse those. Report texts and sentences are
the only free text, and are scrubbed before they come here. What is not named here has no way into a
dataset: README.md and croissant.json are made of these values and of nothing else. Source: DICOM
PS3.15 Annex E, turned round: not what must go, but what may stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from study.records import FLAGS, Reason

KEY_PATTERN = r"[A-Za-z0-9_-]{1,64}"
"""Of a study or a patient. Ingestion makes 32 hexadecimal digits; the fewest limits are those of
member names."""

SPLITS = ("train", "valid", "test")

MANUFACTURERS = (
    "SIEMENS",
    "GE",
    "PHILIPS",
    "TOSHIBA",
    "CANON",
    "HITACHI",
    "UIH",
    "FUJIFILM",
    "BRUKER",
    "NEUSOFT",
    "OTHER",
)
BODY_PARTS = (
    "HEAD",
    "BRAIN",
    "SKULL",
    "NECK",
    "CHEST",
    "THORAX",
    "ABDOMEN",
    "PELVIS",
    "SPINE",
    "CSPINE",
    "TSPINE",
    "LSPINE",
    "EXTREMITY",
    "BREAST",
    "HEART",
)
"""Of BodyPartExamined (PS3.16 annex L), what CT and MR studies are of."""
KERNEL_PATTERN = (
    r"(?:[ABDHIJQTU][a-z]?\d{2}[a-z]?|STANDARD|STND|STD\+?|SOFT|BONE|BONEPLUS|LUNG|DETAIL|EDGE"
    r"|CHST|UB|UA|UC|YA|YB|FC\d{2})"
)
"""Reconstruction kernels by their vendors' scheme; at most two digits."""


@dataclass(frozen=True)
class Words:
    """One of some words."""

    words: frozenset[str]

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.words


@dataclass(frozen=True)
class Pattern:
    """Text of a form: a regular expression for the whole of it."""

    pattern: str

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included."""

    low: float
    high: float

    def fits(self, value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and self.low <= value <= self.high


@dataclass(frozen=True)
class Text:
    """Free text: scrubbed sentences and reports, nothing else."""

    def fits(self, value: Any) -> bool:
        return isinstance(value, str)


Rule = Words | Pattern | Range | Text


def _words(*words: str) -> Words:
    return Words(frozenset(words))


MODALITY = _words("CT", "MR")
WINDOW_PATTERN = r"[A-Za-z][A-Za-z_ -]{0,30}\d{0,3}"
WINDOW = Pattern(WINDOW_PATTERN)
"""Name of an intensity window: the configuration's word."""
LABEL = Pattern(r"(?!.*\d{5})[^\W\d_][\w ()/.,+&:*%'-]{0,79}")
"""Name of a label, which is the name of a column of the user's table: a letter first, no five
digits in a row."""
VARIANT = Pattern(r"(?!.*\d{9})[A-Za-z][A-Za-z0-9._:/+-]{0,79}")
"""Name of a summariser."""
HEX = Pattern(r"[0-9a-f]{0,64}")
DTYPES = ("uint8", "int8", "uint16", "int16", "float16", "float32")
COUNT = Range(0, 1e15)
POSITION_MM = Range(-1e4, 1e4)
"""Within ten metres of the scanner's origin: no identifier in thousandths fits."""
SPACING_MM = Range(0.0, 1e4)

ACQUISITION: dict[str, Rule] = {
    "slice_thickness_mm": Range(0.0, 100.0),
    "echo_time_ms": Range(0.0, 10_000.0),
    "repetition_time_ms": Range(0.0, 100_000.0),
    "inversion_time_ms": Range(0.0, 20_000.0),
    "flip_angle_deg": Range(0.0, 180.0),
    "b_value_s_per_mm2": Range(0.0, 20_000.0),
    "magnetic_field_t": Range(0.0, 20.0),
    "kvp_kv": Range(0.0, 500.0),
    "manufacturer": _words(*MANUFACTURERS),
    "convolution_kernel": Pattern(KERNEL_PATTERN),
    "body_part": _words(*BODY_PARTS),
}
"""Technical facts of a scan that may leave."""

SIGNIFICANT_DIGITS = 5
"""To which numbers of headers are rounded: enough for physics, too few for an identifier."""

SCAN: dict[str, Rule] = {
    "member": Pattern(r"s\d{2,4}"),
    "shape[]": Range(1, 1e5),
    "dtype": _words(*DTYPES),
    "modality": MODALITY,
    "plane": _words("axial", "coronal", "sagittal"),
    "window": WINDOW,
    "window_limits[]": Range(-1e39, 1e39),
    "spacing_mm[]": SPACING_MM,
    "affine[][]": POSITION_MM,
    "source_shape[]": Range(1, 1e5),
    "source_spacing_mm[]": SPACING_MM,
    "source_affine[][]": POSITION_MM,
    "series_index": Range(0, 1e5),
    "flags[]": _words(*FLAGS),
    **{f"acquisition.{name}": rule for name, rule in ACQUISITION.items()},
    "digest": HEX,
}
"""What `KEY.json` says of a scan. `window_limits` have six digits, in floats of any size."""

STUDY: dict[str, Rule] = {
    "schema_version": Range(1, 99),
    "key": Pattern(KEY_PATTERN),
    "patient": Pattern(KEY_PATTERN),
    "split": _words(*SPLITS),
    "age_years": Range(0, 90),
    "sex": _words("", "F", "M", "O"),
    "labels.{}": LABEL,
    "labels.*": Range(0.0, 1.0),
    "report.text": Text(),
    "report.sentences.{}": VARIANT,
    "report.sentences.*[]": Text(),
    **{f"scans[].{path}": rule for path, rule in SCAN.items()},
}
"""`KEY.json`. `[]` is any item of a list, `{}` the names and `*` the values of a mapping whose
names the user or a summariser chose."""

ADDRESS: dict[str, Rule] = {
    "member": Pattern(rf"{KEY_PATTERN}\.(?:json|s\d{{2,4}}\.npy(?:\.zst)?)"),
    "offset": COUNT,
    "length": COUNT,
    "array_offset": COUNT,
    "shape[]": Range(1, 1e5),
    "dtype": _words("", *DTYPES),
    "codec": _words("json", "npy", "npy.zst"),
    "crc32c": COUNT,
}
"""Where a member lies: rows of the index, and `members` of a shard's table."""

_SAMPLE: dict[str, Rule] = {name: STUDY[name] for name in ("key", "patient", "split")}
INDEX: dict[str, Rule] = {**_SAMPLE, "shard": COUNT, **ADDRESS}
"""A row of index.parquet."""

_LISTED = (
    "modality",
    "plane",
    "window",
    "series_index",
    "shape[]",
    "spacing_mm[]",
    "source_shape[]",
    "source_spacing_mm[]",
    "flags[]",
    *(f"acquisition.{name}" for name in ACQUISITION),
    "digest",
)
TABLE: dict[str, Rule] = {
    **_SAMPLE,
    "status": _words("used", "rejected"),
    "reason": _words("", *Reason),
    "num_scans": COUNT,
    "num_series": COUNT,
    "age_years": STUDY["age_years"],
    "sex": STUDY["sex"],
    "modalities[]": MODALITY,
    "planes[]": SCAN["plane"],
    "source_planes[]": SCAN["plane"],
    "windows[]": WINDOW,
    "flags[]": SCAN["flags[]"],
    "manufacturers[]": ACQUISITION["manufacturer"],
    "body_parts[]": ACQUISITION["body_part"],
    "magnetic_fields_t[]": ACQUISITION["magnetic_field_t"],
    "num_sentences.{}": VARIANT,
    "num_sentences.*": COUNT,
    "report_chars": COUNT,
    "labels.{}": LABEL,
    "labels.*": STUDY["labels.*"],
    "bytes": COUNT,
    **{f"scans[].{path}": SCAN[path] for path in _LISTED},
    "scans[].source_plane": SCAN["plane"],
    **{f"members[].{path}": rule for path, rule in ADDRESS.items()},
}
"""A row of a shard's Parquet table."""

HISTOGRAM = rf"(?:CT|MR) {WINDOW_PATTERN}"
COMMIT: dict[str, Rule] = {
    "schema_version": Range(1, 99),
    "shard": COUNT,
    "content": Pattern(r"[0-9a-f]{64}|[a-z]{0,9}(?: \d{1,4})?"),
    "count": COUNT,
    "successes": COUNT,
    "rejected.{}": _words(*Reason),
    "rejected.*": COUNT,
    "splits.{}": _words(*SPLITS),
    "splits.*": COUNT,
    "num_scans": COUNT,
    "histograms.{}": Pattern(HISTOGRAM),
    "histograms.*[]": COUNT,
    "tar_bytes": COUNT,
    "tar_sha256": HEX,
    "parquet_bytes": COUNT,
    "parquet_sha256": HEX,
    "seconds": COUNT,
    "sha256": HEX,
}
"""A shard's commit record."""

DATASET: dict[str, Rule] = {
    "schema_version": Range(1, 99),
    "name": Pattern(r"(?!.*\d{5})[A-Za-z][A-Za-z0-9 ._+-]{0,63}"),
    "fingerprint": HEX,
    "key_fingerprint": HEX,
    "num_studies": COUNT,
    "num_scans": COUNT,
    "num_patients": COUNT,
    "num_shards": COUNT,
    "bytes": COUNT,
    "by_split.{}": _words(*SPLITS),
    "by_split.*": COUNT,
    "by_status.{}": _words("used", "rejected", "superseded"),
    "by_status.*": COUNT,
    "by_reason.{}": _words(*Reason),
    "by_reason.*": COUNT,
    "by_modality.{}": MODALITY,
    "by_modality.*": COUNT,
    "shape[]": Range(1, 1e5),
    "intensity.{}": Pattern(f"all|{HISTOGRAM}"),
    "intensity.*.mean": Range(0, 255),
    "intensity.*.std": Range(0, 255),
    "provenance.{}": Pattern(r"[A-Za-z][A-Za-z0-9._-]{0,39}"),
    "provenance.*": Pattern(r"[0-9A-Za-z.+!-]{1,39}"),
    "files.{}": Pattern(r"[A-Za-z]{1,20}(?:\.[a-z]{1,10}){1,2}"),
    "files.*": HEX,
    "sha256": HEX,
}
"""`dataset.json` but its settings, whose fields are those of `study.ingest_sections` and
`study.sections` (what is free text in them is replaced by a keyed hash before it comes here)."""

SETTING = Pattern(r"(?!.*\d{5})[A-Za-z0-9][A-Za-z0-9 _.+-]{0,39}|keyed:[0-9a-f]{32}|")
"""A name or a word of the settings."""
SETTING_NUMBER = Range(-1e12, 1e12)


def misfits(value: Any, rules: Mapping[str, Rule], path: str = "") -> Iterator[str]:
    """Paths of what does not fit, or is not on the list. None fits wherever a rule is: absent."""
    if isinstance(value, Mapping):
        names = rules.get(f"{path}.{{}}".lstrip("."))
        for name, item in value.items():
            if names is not None and not names.fits(name):
                yield f"{path}: a name"
            inner = "*" if names is not None else str(name)
            yield from misfits(item, rules, f"{path}.{inner}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from misfits(item, rules, f"{path}[]")
    elif path not in rules:
        if value is not None or not any(rule.startswith(path) for rule in rules):
            yield f"{path}: not on the list"
    elif value is not None and not rules[path].fits(value):
        yield path


def setting_misfits(value: Any, path: str = "settings") -> Iterator[str]:
    """The same for the settings of a dataset: names, words and numbers, to any depth."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not SETTING.fits(name):
                yield f"{path}: a name"
            yield from setting_misfits(item, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from setting_misfits(item, f"{path}[]")
    elif not (
        value is None
        or isinstance(value, bool)
        or SETTING.fits(value)
        or SETTING_NUMBER.fits(value)
    ):
        yield path


def refuse_misfits(found: Iterator[str]) -> None:
    """ValueError with the paths, never the values: the message may end in a log."""
    paths = sorted(set(found))
    if paths:
        raise ValueError(f"not on the allow-list of a dataset: {', '.join(paths)}")
