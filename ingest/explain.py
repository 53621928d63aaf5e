"""What became of a file or a series, and why, in words.

In: rows of a ledger, with the facts of the instances and the planned volumes where a run has them.
Out: an `Explanation`: counts, and sentences that a data engineer can act on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingest.geometry import tilt_deg
from ingest.ledger import LedgerRow
from study.records import Instance, Reason, ScanPlan, Status

MEANINGS: Mapping[Reason, str] = {
    Reason.NOT_DICOM: "it is not DICOM (nor an archive, NIfTI or npz file)",
    Reason.TRUNCATED: "the file ends before its data do",
    Reason.UNREADABLE: "the file cannot be opened or parsed",
    Reason.NO_PIXEL_DATA: "it holds no image",
    Reason.UNSUPPORTED_SOP_CLASS: "its kind of object is no CT or MR scan",
    Reason.UNSUPPORTED_PHOTOMETRIC: "it is in colour or through a palette, not grey",
    Reason.UNDECODABLE_TRANSFER_SYNTAX: "no decoder here reads its compression",
    Reason.UNDECODABLE_PIXELS: "its pixels cannot be decoded",
    Reason.DECODE_CRASH: "decoding it crashed the decoder, twice",
    Reason.DECODE_TIMEOUT: "decoding it took more CPU time than ingest.speed.decode_cpu_s, twice",
    Reason.DECODE_MEMORY: "decoding it took more memory than ingest.speed.decode_memory, twice",
    Reason.MISSING_GEOMETRY: "it does not say where its pixels are in the patient",
    Reason.MISSING_UID: "it lacks a study, series or instance UID",
    Reason.DUPLICATE_INSTANCE: "it is a copy of another image",
    Reason.SOP_UID_COLLISION: "another image with other pixels has the same SOPInstanceUID",
    Reason.LOCALIZER: "it is a localizer",
    Reason.DERIVED_SECONDARY: "it is derived from other images (DERIVED\\SECONDARY, a projection)",
    Reason.DERIVED_MAP: "it is a computed map or a mask, not in ingest.rules.keep_derived_maps",
    Reason.PHASE_MAP: "it holds phase, real or imaginary parts, not magnitude",
    Reason.SCREEN_SAVE: "it is a screen save, a report page or a picture of a scan",
    Reason.BURNED_IN_ANNOTATION: "text may be burned into its pixels",
    Reason.TOO_FEW_SLICES: "its volume has fewer slice positions than ingest.rules.min_slices",
    Reason.POSITIONS_NOT_UNIQUE: "several images share positions and nothing tells volumes apart",
    Reason.SLICE_SPACING_IRREGULAR: "the gaps between its slices make no volume",
    Reason.RESCALE_INCONSISTENT: "slices of its volume are in different units",
    Reason.MISSING_SLICES: "slices are missing, more than ingest.rules.max_missing_slices",
    Reason.REDUNDANT_TIMEPOINT: (
        "its series has more volumes than ingest.rules.max_volumes_per_series"
    ),
    Reason.INTENSITY_CONSTANT: "all voxels of its volume are equal",
    Reason.MASK: "its volume has only two values: a mask",
    Reason.TOO_LARGE: "it is larger than the limits allow",
    Reason.PATIENT_MISMATCH: "its study holds images of different patients",
    Reason.NOT_SELECTED: "ingest.select leaves it out",
    Reason.NO_SCANS: "its study has no usable scan",
    Reason.NO_REPORT: "its study has no report",
    Reason.DAMAGED: "its sample was damaged within the dataset",
}
"""What every reason says of an image, to complete "rejected: ..."."""

OF_ONE_IMAGE = (Reason.DUPLICATE_INSTANCE, Reason.REDUNDANT_TIMEPOINT)
"""Reasons whose detail tells images apart: of what it is a copy, which volume it is in."""
MEMBERS_SHOWN = 5
IMAGES_SHOWN = 10
"""Of one file."""
SCANS_SHOWN = 100
DETAILS_SHOWN = 5
"""Of one reason; where there are more, they are of the single images."""


@dataclass(frozen=True)
class Explanation:
    """What became of some images."""

    target: str
    what: str
    """file, folder, series or study."""
    images: int
    by_status: Mapping[str, int]
    by_reason: Mapping[str, int]
    sentences: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def scans_shown(rows: Sequence[LedgerRow]) -> list[tuple[str, int]]:
    """StudyInstanceUID and number of the scans that are told of: the first that the images are
    in."""
    return sorted({(r.study_uid, r.scan) for r in rows if r.status is Status.USED})[:SCANS_SHOWN]


def explain(
    target: str,
    what: str,
    rows: Sequence[LedgerRow],
    plans: Mapping[tuple[str, int], ScanPlan],
    instances: Mapping[tuple[str, int], Instance],
) -> Explanation:
    """Sentences about the images of `rows`. `plans` are by study UID and scan, `instances` by path
    and frame; both may be empty."""
    lines: list[str] = []
    if what == "file":
        for row in rows[:IMAGES_SHOWN]:
            lines += _about_image(row, instances.get((row.path, row.frame)))
        if len(rows) > IMAGES_SHOWN:
            lines.append(f"and {len(rows) - IMAGES_SHOWN} more images")
    else:
        lines += _about_many(rows)
    shown = [scan for scan in scans_shown(rows) if scan in plans]
    several = len({study for study, _ in shown}) > 1
    for study, scan in shown:
        name = f"study {study}, scan {scan}" if several else f"scan {scan}"
        lines.append(_about_plan(name, plans[study, scan]))
    left = len({(r.study_uid, r.scan) for r in rows if r.status is Status.USED}) - SCANS_SHOWN
    if shown and left > 0:
        lines.append(f"and {left} more scans")
    return Explanation(
        target,
        what,
        len(rows),
        {str(s): n for s, n in sorted(Counter(r.status for r in rows).items())},
        {str(r): n for r, n in Counter(r.reason for r in rows if r.reason).most_common()},
        tuple(lines),
    )


def _about_image(row: LedgerRow, instance: Instance | None) -> list[str]:
    name = row.path
    if instance is not None and instance.num_frames > 1:
        name += f", frame {row.frame}"
    if row.status is Status.USED:
        tiles = instance.mosaic_tiles if instance is not None else 0
        part = f"all {tiles} slices" if tiles else f"slice {row.slice}"
        verdict = f"used: {part} of scan {row.scan} of study {row.study_uid}"
    else:
        assert row.reason is not None
        verdict = f"{row.status}: {MEANINGS[row.reason]} ({row.reason}{_detail(row.detail)})"
    lines = [f"{name}: {verdict}"]
    if instance is not None and instance.sop_class_uid:
        kind = "\\".join(instance.image_type) or "no ImageType"
        lines.append(
            f"  {instance.modality or 'no modality'}, {instance.series_description or 'no name'}, "
            f"{kind}, {instance.rows} x {instance.columns}, series {row.series_uid}"
        )
    return lines


def _about_many(rows: Sequence[LedgerRow]) -> list[str]:
    """One line for every way in which images ended, with examples."""
    details: dict[tuple[Status, Reason | None], set[str]] = defaultdict(set)
    for row in rows:
        details[(row.status, row.reason)].add(row.detail)
    groups: dict[tuple[Status, Reason | None, str], list[LedgerRow]] = defaultdict(list)
    for row in rows:
        is_many = len(details[(row.status, row.reason)]) > DETAILS_SHOWN
        detail = "" if is_many or row.reason in OF_ONE_IMAGE else row.detail
        groups[(row.status, row.reason, detail)].append(row)
    lines = []
    for (status, reason, detail), members in sorted(groups.items(), key=lambda g: -len(g[1])):
        if reason is None:
            lines.append(f"{len(members)} images used")
            continue
        lines.append(
            f"{len(members)} images {status}: {MEANINGS[reason]} ({reason}{_detail(detail)})"
        )
        paths = list(dict.fromkeys(row.path for row in members))
        lines += [f"  {path}" for path in paths[:MEMBERS_SHOWN]]
        if len(paths) > MEMBERS_SHOWN:
            lines.append(f"  and {len(paths) - MEMBERS_SHOWN} more files")
    return lines


def _detail(text: str) -> str:
    return f": {text}" if text else ""


def _about_plan(name: str, plan: ScanPlan) -> str:
    orientation = (*plan.row_direction, *plan.column_direction)
    y_mm, x_mm = plan.pixel_spacing_mm
    text = (
        f"{name}: {len(plan.slices)} slices of {plan.rows} x {plan.columns}, "
        f"{plan.slice_spacing_mm:.3f} x {y_mm:.3f} x {x_mm:.3f} mm"
    )
    if plan.split_by:
        text += f"; told from other volumes of its series by {plan.split_by.replace('_', ' ')}"
    if "GANTRY_TILT" in plan.flags:
        text += f"; tilted by {tilt_deg(plan.slice_step_mm, orientation):.1f} degrees"
    others = [flag for flag in plan.flags if flag != "GANTRY_TILT"]
    return text + (f"; {', '.join(others)}" if others else "")
