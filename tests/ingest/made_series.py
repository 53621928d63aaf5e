"""Series of many vendors, made in memory with the tags that matter, for tests that hold us against
dcm2niix.

In: a seed. Out: `CASES`, name -> a function that makes the data sets. All voxels are random, so any
wrong order, flip or mix of volumes shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, product
from typing import Any

import numpy as np
from dicom_files import AXIAL, CORONAL, SAGITTAL, make_series
from enhanced_files import enhanced, item, mosaic, uih_grid
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from scipy.spatial.transform import Rotation

from ingest.geometry import normal_of

Private = tuple[int, str, int, str, Any]
"""Group, creator, element, VR, value."""
Make = Callable[[], list[Dataset]]

RNG = np.random.default_rng(20261125)
STUDIES = count(1)
START = (-20.0, 13.0, 40.0)


def turned(orientation: Sequence[float], degrees: float, axis: str) -> tuple[float, ...]:
    turn = Rotation.from_euler(axis, degrees, degrees=True)
    return tuple(np.concatenate([turn.apply(orientation[:3]), turn.apply(orientation[3:])]))


OBLIQUE = turned(turned(AXIAL, 20, "x"), 12, "y")


def voxels(*shape: int, most: int = 1000) -> np.ndarray:
    return RNG.integers(0, most, shape).astype(np.int16)


def common(**tags: Any) -> dict[str, Any]:
    """Tags of a plausible MR series; those that are None are left out."""
    study = f"1.2.826.0.1.3680043.10.998.{next(STUDIES)}"
    found = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "FrameOfReferenceUID": f"{study}.2",
        "SeriesNumber": 5,
        "SeriesDescription": "x",
        "ProtocolName": "x",
        "StudyDate": "20200101",
        "StudyTime": "101500",
        "AcquisitionTime": "101601",
        "AcquisitionNumber": 1,
        "PatientPosition": "HFS",
        "SliceThickness": 2.0,
        "EchoTime": 10.0,
        "RepetitionTime": 2000.0,
        "FlipAngle": 90.0,
        **tags,
    }
    return {keyword: value for keyword, value in found.items() if value is not None}


def slices(
    data: np.ndarray, orientation: Sequence[float] = AXIAL, gap: float = 3.0, **tags: Any
) -> list[Dataset]:
    """A stack along its normal, with other spacings in rows and columns."""
    x, y, z = (gap * v for v in normal_of(tuple(orientation)))  # type: ignore[arg-type]
    options = {"position": START, "spacing": (1.5, 1.1), "orientation": tuple(orientation)}
    return make_series(data, step=(x, y, z), **options, **common(**tags))


def plane(orientation: Sequence[float], order: np.ndarray, **tags: Any) -> list[Dataset]:
    found = slices(voxels(7, 9, 6), orientation, 3.3, SpacingBetweenSlices=3.3, **tags)
    for ds, number in zip(found, order, strict=True):
        ds.InstanceNumber = int(number) + 1
    return found


def times(
    facts: Sequence[dict[str, Any]],
    maker: str,
    private: Sequence[Sequence[Private]] = (),
    **tags: Any,
) -> list[Dataset]:
    """A 4D series: five slices for each of `facts`, numbered volume after volume."""
    shared, found = common(Manufacturer=maker, **tags), []
    for t, differing in enumerate(facts):
        for ds in slices(voxels(5, 8, 7), OBLIQUE, **{**shared, **differing}):
            ds.InstanceNumber += 5 * t
            for group, creator, element, vr, value in private[t] if private else ():
                ds.private_block(group, creator, create=True).add_new(element, vr, value)
            found.append(ds)
    return found


def ct(change: Callable[[Dataset], None], **tags: Any) -> list[Dataset]:
    tags = {"EchoTime": None, "RepetitionTime": None, "FlipAngle": None, **tags}
    found = slices(
        voxels(6, 12, 12, most=2000),
        gap=2.5,
        modality="CT",
        RescaleIntercept=-1024,
        RescaleSlope=1,
        **tags,
    )
    for ds in found:
        change(ds)
    return found


def rubbish(ds: Dataset, signed: int) -> None:
    """Twelve bits stored in sixteen, with anything in the other four."""
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, signed
    ds.PixelData = RNG.integers(0, 1 << 16, 144).astype("<u2").tobytes()


def big_endian(ds: Dataset) -> None:
    ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian


def implicit(ds: Dataset) -> None:
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def mosaics(orientation: Sequence[float], tiles: int, sign: int) -> list[Dataset]:
    normal = tuple(sign * v for v in normal_of(tuple(orientation)))  # type: ignore[arg-type]
    shared = common(SoftwareVersions="syngo MR B17")
    return [
        mosaic(
            voxels(tiles, 8, 8),
            first=(-30.0, 20.0, 10.0),
            normal=normal,  # type: ignore[arg-type]
            gap=3.0,
            orientation=tuple(orientation),
            spacing=2.0,
            **{**shared, "InstanceNumber": n + 1, "AcquisitionTime": f"10160{n}"},
        )
        for n in range(2)
    ]


def grids(tiles: int, step: float) -> list[Dataset]:
    shared = common(SliceThickness=3.0, SpacingBetweenSlices=3.0)
    places = [(-7.0, 2.0, 40.0 + step * n) for n in range(tiles)]
    return [
        uih_grid(voxels(tiles, 8, 8), places, spacing=(2.0, 2.0), **{**shared, "InstanceNumber": n})
        for n in (1, 2)
    ]


def multiframe(volumes: int, maker: str, gap: float = 3.0, is_timed: bool = True) -> list[Dataset]:
    """One enhanced object. A single volume of Philips has a slope for every slice; dcm2niix reads
    one slope for all of other makers."""
    x, y, z = (gap * v for v in normal_of(OBLIQUE))  # type: ignore[arg-type]
    places, groups = [], []
    for t, s in product(range(volumes), range(5)):
        places.append((START[0] + s * x, START[1] + s * y, START[2] + s * z))
        index = t + 1 if is_timed else 1
        content = {"StackID": "1", "InStackPositionNumber": s + 1, "TemporalPositionIndex": index}
        slope = 1.0 + 0.25 * s if volumes == 1 and maker == "Philips" else 1.0
        groups.append(
            {
                "FrameContentSequence": item(DimensionIndexValues=[1, s + 1, index], **content),
                "PixelValueTransformationSequence": item(RescaleSlope=slope, RescaleIntercept=0.0),
            }
        )
    tags = common(Manufacturer=maker, InstanceNumber=1)
    for name in ("EchoTime", "RepetitionTime", "FlipAngle"):
        tags.pop(name)
    data = voxels(len(places), 8, 7)
    return [enhanced(data, places, groups, orientation=OBLIQUE, spacing=(1.5, 1.1), **tags)]


def _all() -> Iterator[tuple[str, Make]]:
    makers = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "UIH", "CANON_MEC", "HITACHI")
    planes = {"axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL, "oblique": OBLIQUE}
    turns = {"HFS": (0, "x"), "FFS": (180, "y"), "HFP": (180, "z"), "HFDR": (90, "z")}
    for n, ((name, base), (position, turn)) in enumerate(product(planes.items(), turns.items())):
        order = [np.arange(7), np.arange(7)[::-1], RNG.permutation(7)][n % 3]
        tags = {"Manufacturer": makers[n % 6], "PatientPosition": position}
        way = turned(base, *turn)
        yield f"{name} {position}", lambda w=way, o=order, t=tags: plane(w, o, **t)
    yield "echoes", lambda: times([{"EchoTime": e} for e in (5.0, 10.0, 15.0)], "SIEMENS")
    yield "no discriminator", lambda: times([{}] * 3, "HITACHI")
    yield "acquisitions", lambda: times([{"AcquisitionNumber": n} for n in (1, 2)], "SIEMENS")
    yield "dynamics", lambda: times([{"TemporalPositionIdentifier": n} for n in (1, 2)], "Philips")
    directions = [None, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), None, (0.0, 0.0, 1.0)]
    siemens, ge = "SIEMENS MR HEADER", "GEMS_ACQU_01"
    dwi = [
        [(0x19, siemens, 0x0C, "IS", "1000" if d else "0")]
        + ([(0x19, siemens, 0x0E, "FD", list(d))] if d else [])
        for d in directions
    ]
    yield "Siemens DWI", lambda: times([{}] * 5, "SIEMENS", dwi)
    b = [[(0x43, "GEMS_PARM_01", 0x39, "IS", [1000000000 + v, 0, 0, 0])] for v in (0, 0, 800)]
    yield "GE DWI", lambda: times([{}] * 3, makers[1], b)
    for variant in range(4):
        tags = [(0x19, ge, 0x9C, "LO", "ABCD/epi_pepolar"), (0x19, ge, 0xB3, "DS", str(variant))]
        numbered = [{"TemporalPositionIdentifier": n} for n in (1, 2)]
        yield f"GE pepolar {variant}", lambda t=tags, f=numbered: times(f, makers[1], [t, t])
    for (name, base), tiles, sign in product(planes.items(), (5, 12, 20), (1, -1)):
        yield f"mosaic {name} {tiles} {sign}", lambda w=base, t=tiles, s=sign: mosaics(w, t, s)
    for tiles, step in product((6, 12, 20), (3.0, -3.0)):
        yield f"grid {tiles} {step}", lambda t=tiles, s=step: grids(t, s)
    yield "slopes of frames", lambda: multiframe(1, "Philips")
    yield "frames downwards", lambda: multiframe(1, "SIEMENS", -3.0)
    yield "frames of a time series", lambda: multiframe(3, "Philips")
    yield "frames that deny their time", lambda: multiframe(3, "CANON_MEC", is_timed=False)
    yield "twelve bits", lambda: ct(lambda ds: rubbish(ds, 0))
    yield "twelve bits, signed", lambda: ct(lambda ds: rubbish(ds, 1))
    yield "big endian", lambda: ct(big_endian)
    yield "implicit", lambda: ct(implicit)
    yield "RLE", lambda: ct(lambda ds: ds.compress(RLELossless))
    yield "half a HU", lambda: ct(lambda ds: setattr(ds, "RescaleSlope", 0.5))
    for keyword in (
        "InstanceNumber",
        "SeriesNumber",
        "FrameOfReferenceUID",
        "PatientID",
        "SliceThickness",
        "ImageType",
        "PhotometricInterpretation",
    ):
        yield (
            f"without {keyword}",
            lambda k=keyword: [
                d for d in slices(voxels(6, 9, 8), OBLIQUE) if d.__delattr__(k) is None
            ],
        )


CASES: dict[str, Make] = dict(_all())
