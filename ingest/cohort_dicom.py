"""DICOM files of the synthetic cohort: invented identities, headers, and the bytes of each file.

In: identifiers of a study, a series' parameters and geometry, pixels.
Out: (name, bytes) of Part 10 files (PS3.10), explicit little endian, as `MR Image Storage`.
Idea: pydicom encodes one header a series, with placeholders of fixed width for the few values that
differ between slices; each slice is that header with the placeholders replaced. Every identity is
invented and says so.
"""

from __future__ import annotations

import datetime
import hashlib
import io
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from ingest.phantom import Geometry, Head, SeriesParams, sample_series

# The file counts of a cohort, each a field of `ingest.cohort.CohortSummary`.
KINDS = (
    "num_slices",
    "num_localizers",
    "num_derived",
    "num_duplicates",
    "num_truncated",
    "num_empty",
    "num_not_dicom",
    "num_without_pixels",
)
# Values of fixed width that a slice replaces. DS and IS may be padded with spaces (PS3.5 6.2).
SOP_UID_MARK = "2.25." + "9" * 38
NUMBER_MARK = "99999999"
POSITION_MARKS = ("-99999.001", "-99999.002", "-99999.003")
LOCATION_MARK = "-99999.004"

# (series description, protocol, echo time ms, repetition time ms, inversion time ms or None)
PROTOCOLS = {
    "T1": ("T1 SE", "t1_se", 10.0, 550.0, None),
    "T1C": ("T1 SE +C", "t1_se_gd", 10.0, 550.0, None),
    "T2": ("T2 TSE", "t2_tse", 96.0, 4200.0, None),
    "FLAIR": ("T2 FLAIR", "t2_flair_dark-fluid", 120.0, 9000.0, 2500.0),
    "DWI": ("DWI b1000", "ep2d_diff", 85.0, 5200.0, None),
    "T2STAR": ("T2* GRE", "t2_fl2d_hemo", 20.0, 650.0, None),
}
MANUFACTURERS = (("SYNTHETIC ONE", "Phantom 1.5T"), ("SYNTHETIC TWO", "Phantom 3T"))
PLANE_SUFFIX = {"axial": "AX", "coronal": "COR", "sagittal": "SAG"}


@dataclass(frozen=True)
class StudyIds:
    """Invented identifiers of a study, and of the patient it belongs to."""

    patient_id: str
    patient_name: str
    birth_date: str  # YYYYMMDD, as study_date
    sex: str
    age: str
    accession: str
    study_uid: str
    frame_uid: str
    study_date: str
    scanner: int
    folder_name: str

    @classmethod
    def of(cls, seed: int, patient: int, visit: int) -> StudyIds:
        """A pure function of the cohort's seed, the patient, and the visit."""
        rng = np.random.default_rng((seed, patient, 50))
        born = datetime.date(1930, 1, 1) + datetime.timedelta(days=int(rng.integers(26000)))
        first = datetime.date(2021, 1, 1) + datetime.timedelta(days=int(rng.integers(1000)))
        seen = first + datetime.timedelta(days=visit * int(rng.integers(30, 400)))
        study_uid = make_uid(seed, patient, visit)
        return cls(
            patient_id=f"SYN{seed:03d}-{patient:06d}",
            patient_name=f"Phantom^Head{patient:06d}",
            birth_date=born.strftime("%Y%m%d"),
            sex="F" if rng.random() < 0.5 else "M",
            age=f"{(seen - born).days // 365:03d}Y",
            accession=f"A{seed:03d}{patient:06d}{visit}",
            study_uid=study_uid,
            frame_uid=make_uid(seed, patient, visit, "frame"),
            study_date=seen.strftime("%Y%m%d"),
            scanner=int(rng.integers(len(MANUFACTURERS))),
            folder_name=f"MR_{seen.strftime('%Y%m%d')}_{study_uid[-6:]}",
        )


def make_uid(*parts: object) -> str:
    """A UID of always 43 characters, 2.25.<38 digits> (PS3.5 B.2), by hash of the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    number = int.from_bytes(digest[:15], "big")  # 120 bits: below the limit of 128
    return f"2.25.{number % 10**37 + 10**37:038d}"


class SeriesHeader:
    """The encoded header of one MR series, to be completed for each slice."""

    def __init__(
        self,
        ids: StudyIds,
        number: int,
        series: SeriesParams,
        geometry: Geometry,
        *,
        reverse: bool = False,
        localizer: bool = False,
        first_instance: int = 1,
    ) -> None:
        self._geometry = geometry
        self._num_slices = series.num_slices
        self._reverse = reverse  # instance numbers run against the slice direction
        self._first_instance = first_instance
        self._uid_root = (ids.study_uid, number)
        self._folder = f"S{number:03d}"
        dataset = _new_dataset(ids, str(MRImageStorage), SOP_UID_MARK, number)
        _set_mr_tags(dataset, ids, series, geometry, localizer)
        dataset.InstanceNumber = NUMBER_MARK
        dataset.ImagePositionPatient = list(POSITION_MARKS)
        dataset.SliceLocation = LOCATION_MARK
        _set_pixels(dataset, np.zeros((series.matrix, series.matrix), np.int16))
        self._header = _encode(dataset)[: -2 * series.matrix**2]

    def encode(self, slice_index: int, pixels: np.ndarray) -> tuple[str, bytes]:
        """Name and bytes of the file of one slice; `pixels` int16 [rows, columns]."""
        position = self._geometry.position_mm(slice_index)
        step = np.array(self._geometry.slice_step_mm)
        location = float(np.dot(position, step / np.linalg.norm(step)))
        rank = self._num_slices - 1 - slice_index if self._reverse else slice_index
        number = rank + self._first_instance
        uid = make_uid(*self._uid_root, number)
        header = self._header.replace(SOP_UID_MARK.encode(), uid.encode())
        header = header.replace(NUMBER_MARK.encode(), b"%8d" % number)
        for mark, value in zip(
            (*POSITION_MARKS, LOCATION_MARK), (*position, location), strict=True
        ):
            header = header.replace(mark.encode(), b"%10.4f" % value)
        return f"{self._folder}/{uid}.dcm", header + pixels.astype("<i2").tobytes()


def localizer_files(ids: StudyIds, head: Head, seed: int) -> list[tuple[str, bytes]]:
    """A scout: three planes of one to three slices each, in one series."""
    rng = np.random.default_rng((seed, int(ids.study_uid[-9:])))
    noise_seed = int(rng.integers(2**31))
    files: list[tuple[str, bytes]] = []
    for plane in ("axial", "coronal", "sagittal"):
        num_slices = int(rng.integers(1, 4))
        scout = SeriesParams("T1", plane, 64, 4.0, 25.0, num_slices, 0.0, noise_seed)
        volume, geometry = sample_series(head, scout)
        header = SeriesHeader(
            ids, 1, scout, geometry, localizer=True, first_instance=len(files) + 1
        )
        files += [header.encode(k, pixels) for k, pixels in enumerate(volume)]
    return files


def projection_files(ids: StudyIds, volume: np.ndarray) -> list[tuple[str, bytes]]:
    """A derived series: maximum intensity projections of a volume along two axes."""
    files = []
    for number, axis in enumerate((1, 2), 1):
        picture = volume.max(axis=axis)
        uid = make_uid(ids.study_uid, "mip", number)
        dataset = _new_dataset(ids, str(MRImageStorage), uid, 90)
        dataset.ImageType = ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "MIP"]
        dataset.SeriesDescription = "MIP"
        dataset.InstanceNumber = number
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [-108, 10 * number, 84]
        dataset.PixelSpacing = [7, 3]
        _set_pixels(dataset, picture)
        files.append((f"S090/{uid}.dcm", _encode(dataset)))
    return files


def screen_save_file(ids: StudyIds, volume: np.ndarray) -> tuple[str, bytes]:
    """A secondary capture of one slice: eight bits, no geometry."""
    uid = make_uid(ids.study_uid, "screen")
    picture = volume[len(volume) // 2].astype(np.float32)
    dataset = _new_dataset(ids, str(SecondaryCaptureImageStorage), uid, 99)
    dataset.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    dataset.ConversionType = "WSD"
    dataset.SeriesDescription = "Screen Save"
    dataset.InstanceNumber = 1
    _set_pixels(dataset, (255 * picture / max(1.0, picture.max())).astype(np.uint8))
    return f"S099/{uid}.dcm", _encode(dataset)


def structured_report_file(ids: StudyIds) -> tuple[str, bytes]:
    """A structured report: DICOM without pixels."""
    uid = make_uid(ids.study_uid, "sr")
    dataset = _new_dataset(ids, str(BasicTextSRStorage), uid, 98)
    dataset.Modality = "SR"
    dataset.SeriesDescription = "Dose Report"
    dataset.InstanceNumber = 1
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    return f"S098/{uid}.dcm", _encode(dataset)


def directory_file(ids: StudyIds) -> tuple[str, bytes]:
    """A DICOMDIR (PS3.3 F) that lists nothing."""
    uid = make_uid(ids.study_uid, "dir")
    dataset = FileDataset("", {}, file_meta=_new_meta(str(MediaStorageDirectoryStorage), uid))
    dataset.FileSetID = "SYNTHETIC"
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.FileSetConsistencyFlag = 0
    dataset.DirectoryRecordSequence = []
    return "DICOMDIR", _encode(dataset)


def _new_meta(class_uid: str, sop_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = class_uid
    meta.MediaStorageSOPInstanceUID = sop_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _new_dataset(ids: StudyIds, class_uid: str, sop_uid: str, series_number: int) -> FileDataset:
    """Patient, study, series and equipment modules, common to all files of a study."""
    dataset = FileDataset("", {}, file_meta=_new_meta(class_uid, sop_uid), preamble=bytes(128))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = class_uid
    dataset.SOPInstanceUID = sop_uid
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = ids.study_date
    dataset.StudyTime = "101500"
    dataset.AcquisitionDate = ids.study_date
    dataset.AcquisitionTime = f"10{15 + series_number % 40:02d}00"
    dataset.AccessionNumber = ids.accession
    dataset.Modality = "MR"
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURERS[ids.scanner]
    dataset.InstitutionName = "Synthetic Hospital"
    dataset.ReferringPhysicianName = "Sample^Doctor"
    dataset.StudyDescription = "MRI HEAD"
    dataset.PatientName = ids.patient_name
    dataset.PatientID = ids.patient_id
    dataset.IssuerOfPatientID = "DICOM2CLIP-SYNTHETIC"
    dataset.PatientBirthDate = ids.birth_date
    dataset.PatientSex = ids.sex
    dataset.PatientAge = ids.age
    dataset.BodyPartExamined = "HEAD"
    dataset.StudyInstanceUID = ids.study_uid
    dataset.SeriesInstanceUID = make_uid(ids.study_uid, "series", series_number)
    dataset.StudyID = "1"
    dataset.SeriesNumber = series_number
    return dataset


def _set_mr_tags(
    dataset: Dataset, ids: StudyIds, series: SeriesParams, geometry: Geometry, localizer: bool
) -> None:
    """MR acquisition and image plane modules, without what differs between slices."""
    description, protocol, echo_ms, repetition_ms, inversion_ms = PROTOCOLS[series.contrast]
    suffix = PLANE_SUFFIX[series.plane]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "LOCALIZER" if localizer else "NORM"]
    dataset.SeriesDescription = "Localizer" if localizer else f"{description} {suffix}"
    dataset.ProtocolName = "localizer" if localizer else f"{protocol}_{suffix.lower()}"
    dataset.ScanningSequence = "GR" if series.contrast == "T2STAR" else "SE"
    dataset.SequenceVariant = "SK"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.MagneticFieldStrength = 1.5 if ids.scanner == 0 else 3
    dataset.EchoTime = echo_ms
    dataset.RepetitionTime = repetition_ms
    if inversion_ms is not None:
        dataset.InversionTime = inversion_ms
    dataset.EchoTrainLength = 1
    dataset.FlipAngle = 90
    dataset.PatientPosition = "HFS"
    if series.contrast == "T1C":
        dataset.ContrastBolusAgent = "Gadolinium"
    dataset.SliceThickness = round(series.slice_spacing_mm * 0.9, 2)  # a gap of a tenth
    dataset.SpacingBetweenSlices = series.slice_spacing_mm
    dataset.FrameOfReferenceUID = ids.frame_uid
    dataset.PositionReferenceIndicator = ""
    cosines = (*geometry.row_cosine, *geometry.column_cosine)
    dataset.ImageOrientationPatient = [round(v, 7) + 0.0 for v in cosines]
    dataset.PixelSpacing = [geometry.spacing_mm, geometry.spacing_mm]


def _set_pixels(dataset: Dataset, picture: np.ndarray) -> None:
    """Image pixel module for int16 or uint8 [rows, columns]."""
    bits = picture.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = picture.shape
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(picture.dtype.kind == "i")
    dataset.PixelData = picture.tobytes()


def _encode(dataset: FileDataset) -> bytes:
    """The bytes of a Part 10 file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
