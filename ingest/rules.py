"""Which images can be part of a scan, one rule a function.

In: an `Instance` and the settings. Out: a `Rejection` for what is left out, None for
what stays. Rules are tried in the order of `RULES`; the first that answers decides. To add one:
write the function, put it into `RULES`, add a `Reason`, and a test. Sources: reference converters'
rules, DICOM PS3.3 C.8.2.1.1.1 and C.8.16.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ingest.slices import Slices
from ingest.stacks import family_of
from ingest.tags import IMAGE_CLASSES
from study.ingest_sections import Rules
from study.records import Instance, Reason, Rejection

MAP_WORDS = frozenset(
    [
        "ADC",
        "TRACEW",
        "TRACE",
        "FA",
        "COLFA",
        "EADC",
        "EXP",
        "RCBF",
        "RELCBF",
        "CBF",
        "RCBV",
        "CBV",
        "MTT",
        "TTP",
        "TMAX",
        "PBP",
        "T1_MAP",
        "T2_MAP",
        "T2STAR_MAP",
        "R2_MAP",
        "FAT_FRACTION",
        "PDFF",
        "SUBTRACTION",
        "TTEST",
        "PERFUSION_ASL",
        "B0",
        "MASK",
        "SEGMENTATION",
        "LABEL",
        "LABELMAP",
    ]
)
"""Values of ImageType that name a computed map or a mask. So does any that ends in MAP, but for
phase maps."""
SCREEN_WORDS = (
    "SCREEN SAVE",
    "SCREENSAVE",
    "SAVE",
    "PASTED",
    "VOLREN",
    "VRT",
    "3DVR",
    "DOSE_INFO",
    "PATIENT_INFO",
)
SCREEN_DESCRIPTIONS = (
    "SCREEN SAVE",
    "SCREENSAVE",
    "SCREEN CAPTURE",
    "SCREENSHOT",
    "DOSE REPORT",
    "DOSE INFO",
    "DOSE SUMMARY",
    "EXAM SUMMARY",
    "PATIENT PROTOCOL",
)
"""Parts of a SeriesDescription that say the same."""
SCREEN_BITS = 8
"""A CT of no more bits holds no HU: it is a picture of one."""
GREYS = ("MONOCHROME1", "MONOCHROME2", "")
"""Photometric interpretations of grey images; a missing one with one sample is one, too."""
PHASE_WORDS = frozenset({"P", "PHASE", "PHASE MAP", "PHASE_MAP", "I", "IMAGINARY", "R", "REAL"})
PHASE_STARTS = ("P_", "R_", "I_")
"""Philips: R_FFE is the real part of an FFE."""
PHASE_COMPONENTS = frozenset({"PHASE", "REAL", "IMAGINARY", "MIXED"})
ENHANCED_MR = frozenset(uid for uid in IMAGE_CLASSES if uid.endswith((".4.1", ".4.4")))
LOCALIZER_WORDS = frozenset(
    {"LOCALIZER", "LOCALISER", "LOC", "SCOUT", "AAHSCOUT", "TOPOGRAM", "SURVIEW", "SURVEY"}
)
"""Words of a SeriesDescription, or (all but LOC) ends of such words, as in AAHead_Scout and
3Plane_Localizer."""
PROJECTION_WORDS = frozenset(
    {"MIP", "MINIP", "MNIP", "MAXIMUM", "MINIMUM", "MAX_IP", "MIN_IP", "CSA MIP", "CSAMIP"}
)
"""Values of ImageType of projections through a volume."""


def known_reason(instance: Instance, rules: Rules) -> Rejection | None:
    """The crawl found the file unusable."""
    return Rejection(instance.reason, instance.detail) if instance.reason is not None else None


def has_pixels(instance: Instance, rules: Rules) -> Rejection | None:
    if not instance.has_pixels or not instance.rows or not instance.columns:
        return Rejection(Reason.NO_PIXEL_DATA, "")
    return None


def is_grey(instance: Instance, rules: Rules) -> Rejection | None:
    if instance.samples_per_pixel != 1 or instance.photometric not in GREYS:
        return Rejection(
            Reason.UNSUPPORTED_PHOTOMETRIC,
            f"{instance.photometric}, {instance.samples_per_pixel} samples",
        )
    return None


def not_burned_in(instance: Instance, rules: Rules) -> Rejection | None:
    return (
        Rejection(Reason.BURNED_IN_ANNOTATION, "")
        if instance.burned_in_annotation.upper() == "YES"
        else None
    )


def not_localizer(instance: Instance, rules: Rules) -> Rejection | None:
    types = {t.upper() for t in instance.image_type}
    if types & {"LOCALIZER", "SCOUT"} or (
        "PROJECTION IMAGE" in types and family_of(instance) == "CT"
    ):
        return Rejection(Reason.LOCALIZER, "ImageType")
    if instance.is_localizer_plane:
        return Rejection(Reason.LOCALIZER, "GE series plane")
    words = re.findall(r"[A-Z0-9]+", instance.series_description.upper())
    if "AAH" in instance.protocol_name.upper():  # AAHScout, AAHead_Scout
        words += re.findall(r"[A-Z0-9]+", instance.protocol_name.upper())
    long = tuple(w for w in LOCALIZER_WORDS if len(w) > 3)
    if any(w in LOCALIZER_WORDS or w.endswith(long) for w in words):
        return Rejection(Reason.LOCALIZER, "SeriesDescription")
    return None


def not_screen(instance: Instance, rules: Rules) -> Rejection | None:
    """Screen saves and pages, also those that claim to be ORIGINAL."""
    types = " ".join(instance.image_type).upper()
    if any(word in types for word in SCREEN_WORDS):
        return Rejection(Reason.SCREEN_SAVE, types)
    description = re.sub(r"[\s_-]+", " ", instance.series_description.upper())
    if any(words in description for words in SCREEN_DESCRIPTIONS):
        return Rejection(Reason.SCREEN_SAVE, "SeriesDescription")
    bits = instance.bits_stored or 16
    if family_of(instance) == "CT" and bits <= SCREEN_BITS:
        return Rejection(Reason.SCREEN_SAVE, f"CT of {bits} bits")
    is_original = [t.upper() for t in instance.image_type[:1]] == ["ORIGINAL"]
    if instance.is_capture and (not is_original or bits <= SCREEN_BITS):
        return Rejection(Reason.SCREEN_SAVE, "a capture device is named")
    return None


def not_secondary(instance: Instance, rules: Rules) -> Rejection | None:
    """DERIVED\\SECONDARY is a picture about a scan; DERIVED\\PRIMARY (reformats) stays, as HLIP
    trains on it."""
    values = [t.upper() for t in instance.image_type]
    if values[:2] == ["DERIVED", "SECONDARY"] and not _kept_map(values, rules):
        return Rejection(Reason.DERIVED_SECONDARY, "\\".join(values))
    if PROJECTION_WORDS.intersection(values) or "PROJECTION IMAGE" in values:
        return Rejection(Reason.DERIVED_SECONDARY, "\\".join(values))
    return None


def not_map(instance: Instance, rules: Rules) -> Rejection | None:
    values = [t.upper() for t in instance.image_type]
    found = sorted(
        v
        for v in values
        if v in MAP_WORDS or (v.endswith(("MAP", "MASK")) and not v.startswith("PHASE"))
    )
    if _is_perfusion_map(instance, values):
        found.append("perfusion")
    if instance.bits_stored == 1:
        found.append("one bit")
    return (
        Rejection(Reason.DERIVED_MAP, found[0]) if found and not _kept_map(values, rules) else None
    )


def _is_perfusion_map(instance: Instance, values: list[str]) -> bool:
    """True for differences of labelled and unlabelled images: derived ASL of Siemens, and what
    Philips calls PERFUSION beside the M of its source images (in enhanced objects, which call both
    so: of signed values)."""
    if values[:1] == ["DERIVED"] and "ASL" in values and "MOCO" not in values:
        return True
    is_enhanced = instance.sop_class_uid in ENHANCED_MR
    is_signed = instance.component in PHASE_COMPONENTS if is_enhanced else True
    is_philips = instance.manufacturer.upper().startswith("PHILIPS")
    return is_philips and is_signed and values[2:3] == ["PERFUSION"]


def not_phase(instance: Instance, rules: Rules) -> Rejection | None:
    """Phase, real and imaginary MR images are angles and signs, not brightness."""
    if family_of(instance) != "MR":
        return None
    if instance.component in PHASE_COMPONENTS:
        return Rejection(Reason.PHASE_MAP, instance.component)
    values = [t.upper() for t in instance.image_type[2:4]]
    if values and (
        values[0] in PHASE_WORDS or values[0].startswith(PHASE_STARTS) or "PHASE MAP" in values
    ):
        return Rejection(Reason.PHASE_MAP, "\\".join(values))
    return None


def is_untiled(instance: Instance, rules: Rules) -> Rejection | None:
    """A mosaic whose private header is gone: nobody knows how many slices it holds."""
    if "MOSAIC" in instance.image_type and not instance.mosaic_tiles:
        return Rejection(Reason.MISSING_GEOMETRY, "number of tiles of the mosaic")
    return None


def has_geometry(instance: Instance, rules: Rules) -> Rejection | None:
    missing = [
        keyword
        for keyword, value in (
            ("ImagePositionPatient", instance.position_mm),
            ("ImageOrientationPatient", instance.orientation),
            ("PixelSpacing", instance.pixel_spacing_mm),
        )
        if value is None
    ]
    return Rejection(Reason.MISSING_GEOMETRY, ", ".join(missing)) if missing else None


def _kept_map(values: list[str], rules: Rules) -> bool:
    return bool({w.upper() for w in rules.keep_derived_maps}.intersection(values))


RULES: tuple[Callable[[Instance, Rules], Rejection | None], ...] = (
    known_reason,
    has_pixels,
    is_grey,
    not_burned_in,
    not_localizer,
    not_screen,
    not_secondary,
    not_map,
    not_phase,
    is_untiled,
    has_geometry,
)


def judge(instance: Instance, rules: Rules) -> Rejection | None:
    """The first rule's verdict against this image, or None when it may be part of a scan."""
    return next((verdict for rule in RULES if (verdict := rule(instance, rules)) is not None), None)


def judge_voxels(voxels: Slices) -> Rejection | None:
    """What only the voxels tell: nothing in them, or a mask that claims to be a scan."""
    lower, upper = voxels.min(), voxels.max()
    if not upper > lower:
        return Rejection(Reason.INTENSITY_CONSTANT, f"every voxel is {lower}")
    if all(bool(((part == lower) | (part == upper)).all()) for part in voxels):
        return Rejection(Reason.MASK, f"every voxel is {lower} or {upper}")
    return None
