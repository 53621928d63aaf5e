"""Which images are copies of each other.

In: images of a study. Out: the files whose pixels must be compared, then one image for every set of
copies and ledger rows for the others. Two signs of a copy: the same SOPInstanceUID, or the same
place and the same facts under another UID (a series sent twice, or in another transfer syntax).
Neither is proof: pixels decide. Pixels alone are none either: the empty slices above a head are
equal at all times of an fMRI series, so whole stacks are compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from ingest.ledger import LedgerRow, row_for
from study.records import Instance, Reason, Status

Images = list[Instance]


def to_compare(images: Iterable[Instance]) -> set[str]:
    """Paths of files whose pixels must be compared with those of another image."""
    by_uid: dict[Hashable, Images] = defaultdict(list)
    by_place: dict[Hashable, Images] = defaultdict(list)
    for image in images:
        if image.reason is None and image.has_pixels:
            by_uid[(image.sop_uid, image.frame)].append(image)
            if image.position_mm is not None:
                by_place[_place_and_facts(image)].append(image)
    paths = {i.path for same in by_uid.values() if len({i.path for i in same}) > 1 for i in same}
    return paths | {i.path for same in by_place.values() if len(same) > 1 for i in same}


def _place_and_facts(image: Instance) -> Hashable:
    """Equal for images that nothing but their UIDs and numbers tell apart."""
    assert image.position_mm is not None
    return (
        image.study_uid,
        image.series_uid,
        image.rows,
        image.columns,
        tuple(round(v, 2) for v in image.position_mm),
        tuple(round(v, 3) for v in image.orientation or ()),
        image.image_type,
        image.component,
        image.echo_time_ms,
        image.echo_number,
        image.inversion_time_ms,
        image.flip_angle_deg,
        image.b_value_s_per_mm2,
        image.diffusion_direction,
        image.temporal_position,
        image.volume_number,
        image.trigger_time_ms,
        image.cardiac_phase_percent,
        image.acquisition_number,
        image.acquisition_time,
        image.content_time,
        image.convolution_kernel,
        image.kvp_kv,
        image.slice_thickness_mm,
        image.reconstruction_diameter_mm,
        image.coil_name,
        image.stack_id,
        image.dimension_index,
    )


def without_repeated_uids(images: Images, rows: list[LedgerRow]) -> Images:
    """One image for every (SOPInstanceUID, frame). Same pixels: duplicates; other pixels: nobody
    knows which is right."""
    by_uid: dict[tuple[str, int], Images] = defaultdict(list)
    for image in images:
        by_uid[(image.sop_uid, image.frame)].append(image)
    unique = []
    for same in by_uid.values():
        if len({i.pixel_digest for i in same}) > 1:
            rows.extend(row_for(i, Status.REJECTED, Reason.SOP_UID_COLLISION) for i in same)
            continue
        unique.append(same[0])
        rows.extend(_copy_row(i, same[0]) for i in same[1:])
    return unique


def without_copies_in_place(
    images: Images, position_numbers: Sequence[int], rows: list[LedgerRow]
) -> Images:
    """Drop copies from a stack where everything that shares a position is one image.

    `position_numbers` has the number of each image's position. Where a single position holds
    different images, nothing is dropped: the stack has several volumes.
    """
    by_position: dict[int, Images] = defaultdict(list)
    for image, number in zip(images, position_numbers, strict=True):
        by_position[number].append(image)
    repeated = [same for same in by_position.values() if len(same) > 1]
    if not repeated or not all(_are_copies(same) for same in repeated):
        return images
    dropped = {id(i) for same in repeated for i in same[1:]}
    rows.extend(_copy_row(i, same[0]) for same in repeated for i in same[1:])
    return [i for i in images if id(i) not in dropped]


def without_copied_volumes(volumes: list[Images], rows: list[LedgerRow]) -> list[Images]:
    """Volumes of one series, less those whose every image equals that of an earlier volume. Images
    of a volume are in order along its normal."""
    seen: dict[Hashable, Images] = {}
    kept = []
    for volume in volumes:
        digests = tuple(i.pixel_digest for i in volume)
        first = seen.setdefault(digests, volume) if all(digests) else volume
        if first is volume:
            kept.append(volume)
        else:
            rows.extend(_copy_row(i, of) for i, of in zip(volume, first, strict=True))
    return kept


def _are_copies(images: Images) -> bool:
    digests = {i.pixel_digest for i in images}
    return len(digests) == 1 and "" not in digests


def _copy_row(image: Instance, of: Instance) -> LedgerRow:
    where = f"of {of.path}" if image.num_frames == 1 else f"of {of.path}, frame {of.frame}"
    return row_for(image, Status.DUPLICATE, Reason.DUPLICATE_INSTANCE, where)
