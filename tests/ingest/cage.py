"""A source full of canaries, and its ingestion.

In: an empty folder. Out: studies of every kind (single-frame, enhanced multi-frame, in a zip,
NIfTI, wholly rejected, broken) with canaries in every element and name, reports that repeat the
header however it may be written, labels; and the pipeline that ingests them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from canaries import WORD, Aviary, num_planted, plant, zip_of
from dicom_files import make_series, save
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage

from ingest import identity
from ingest.job import JobResult, ingest
from study.config import Pipeline
from study.ingest_sections import Grid, Ingest, IngestSpeed, Select
from study.sections import Shards

STUDY = "1.2.826.0.1.99.555"
SLICES = 4


def series(aviary: Aviary, number: int, every: int = 6) -> list[Dataset]:
    """Slices of one MR study with canaries in all elements; the same in every slice."""
    voxels = np.random.default_rng(number).integers(0, 500, (SLICES, 12, 12))
    pattern = Dataset()
    pattern.file_meta = pydicom.dataset.FileMetaDataset()
    plant(pattern, aviary, every=every)
    pattern.SeriesDescription = aviary.value("LO")
    slices = make_series(voxels)
    for index, dataset in enumerate(slices):
        meta = {e.tag: e for e in pattern.file_meta}
        dataset.update(
            {e.tag: e for e in pattern if e.tag not in dataset or e.keyword == "Modality"}
        )
        dataset.file_meta.update({t: e for t, e in meta.items() if t not in dataset.file_meta})
        dataset.preamble = pattern.preamble
        dataset.StudyInstanceUID = f"{STUDY}.{number}"
        dataset.SeriesInstanceUID = f"{STUDY}.{number}.1"
        dataset.SOPInstanceUID = f"{STUDY}.{number}.1.{index}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID = f"{WORD}PID{number}"
        dataset.IssuerOfPatientID = f"{WORD}ISSUER"
        dataset.PatientName = f"{WORD.title()}doe{'abcdef'[number]}^{WORD.title()}jane^Q"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", f"{WORD}TYPE"]
        dataset.PatientAge = "107Y"
    return slices


def enhanced(aviary: Aviary, number: int) -> Dataset:
    """The same as one enhanced multi-frame object, with canaries in its functional groups."""
    slices = series(aviary, number)
    top = slices[0]
    shared, nested = Dataset(), Dataset()
    plant_in = {"LO": 0x00189005, "SH": 0x00081070, "LT": 0x00204000, "CS": 0x00189004}
    for vr, tag in plant_in.items():
        nested.add_new(tag, vr, aviary.value(vr))
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 2
    orientation.ImageOrientationPatient = top.ImageOrientationPatient
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.MRTimingAndRelatedParametersSequence = Sequence([nested])
    frames = []
    for dataset in slices:
        frame, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = dataset.ImagePositionPatient
        content.StackID = aviary.value("SH")[:16]
        content.FrameComments = aviary.value("LT")
        content.FrameLabel = aviary.value("LO")
        content.FrameAcquisitionDateTime = aviary.value("DT")
        frame.PlanePositionSequence = Sequence([position])
        frame.FrameContentSequence = Sequence([content])
        frames.append(frame)
    pixels = b"".join(dataset.PixelData for dataset in slices)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "StackID"):
        if keyword in top:
            del top[keyword]
    top.SOPClassUID = top.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    top.NumberOfFrames, top.PixelData = SLICES, pixels
    top.SharedFunctionalGroupsSequence = Sequence([shared])
    top.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return top


def report_of(dataset: Dataset) -> str:
    """A report that names all that the header does, and what only patterns can find."""
    values = sorted(identity.identifying_values(dataset))
    names = [v.partition("=")[2] for v in values if v.startswith("NAME=")]
    family, given = str(dataset.PatientName).split("^")[:2]
    written = [value.partition("=")[2].replace("^", " ") for value in values]
    written += [", ".join(name.split("^")[::-1]).upper() for name in names]
    written += [f"{family}'s", f"Ms. {family}", f"{given} {family}", f"{family.upper()}, J."]
    written += ["Dr. Canarydoctor", "Canary Reader, MD", "18070315", "15 March 1807", "3/15/1807"]
    written += ["canary@example.org", "https://canary.example.org/a", "MRN 9876543", "1807-03-15"]
    written += [f"{WORD}-1900010-1", "+49 987 6543 1900010", "1.2.826.0.1.99.5"]
    lines = [f"Compared with {value} there is a 12 mm mass at L4-5." for value in written]
    return "FINDINGS: A 3.5 x 2.1 cm mass.\n" + "\n".join(lines)


def build_cage(home: Path, *, small: bool = False) -> int:
    """Sources, reports and labels below `home`; returns how many text elements were planted."""
    aviary = Aviary()
    source = home / f"{WORD} source"
    classic = series(aviary, 0, every=8 if small else 1)
    for number, dataset in enumerate(classic):  # names that no reader of headers may pass on
        folder = source / f"{WORD}_DOE_JANE" / f"{WORD} 18070315"
        save([dataset], folder, f"{WORD}.{number}.{{:04d}}")
    reports = {classic[0].StudyInstanceUID: report_of(classic[0])}
    planted = num_planted(classic[0])
    if not small:
        whole = enhanced(aviary, 1)
        save([whole], source / WORD, f"{WORD}.dcm")
        reports[whole.StudyInstanceUID] = report_of(whole)
        pictures = series(aviary, 2)
        for dataset in pictures:
            dataset.ImageType = ["DERIVED", "SECONDARY", f"{WORD}TYPE"]
        save(pictures, source / "pictures")
        for number, dataset in enumerate(series(aviary, 3)):
            save([dataset], home / "packed", f"{WORD}{number}")
        members = {f"{WORD}/{p.name}": p.read_bytes() for p in sorted((home / "packed").iterdir())}
        (source / f"{WORD}.zip").write_bytes(zip_of(members))
        volume = sitk.GetImageFromArray(
            np.random.default_rng(9).integers(0, 99, (6, 12, 12)).astype(np.int16)
        )
        (source / f"{WORD}_sub-18070315").mkdir()
        sitk.WriteImage(volume, str(source / f"{WORD}_sub-18070315" / f"{WORD}.nii.gz"))
        broken = (source / "pictures" / "0000.dcm").read_bytes()
        (source / f"{WORD}broken.dcm").write_bytes(broken[: len(broken) // 2])
        (source / f"{WORD}notes.txt").write_text(f"{WORD} 18070315")
        planted += num_planted(whole)
    quoted = {uid: text.replace('"', "") for uid, text in reports.items()}
    rows = [f'{uid},"{text}",{WORD} Name,{WORD}@x.org' for uid, text in quoted.items()]
    table = ["StudyInstanceUID,report,PatientName,Email", *rows]
    (home / f"{WORD}.csv").write_text("\n".join(table) + "\n")
    labels = [f"{uid},1" for uid in quoted]
    (home / f"{WORD}labels.csv").write_text("\n".join(["StudyInstanceUID,mass", *labels]) + "\n")
    return planted


def pipeline(cage: Path, home: Path, scheduler: str, compression: str = "none") -> Pipeline:
    """Ingest what is in a cage into a dataset and a run below `home`."""
    return Pipeline(
        name=f"{WORD}19610315",
        dataset=str(home / "dataset"),
        run=str(home / "run"),
        ingest=Ingest(
            source=(str(cage / f"{WORD} source"),),
            reports=str(cage / f"{WORD}.csv"),
            labels=str(cage / f"{WORD}labels.csv"),
            select=Select(description_lacks=(f"{WORD}unwanted",)),
            grid=Grid(depth=4, resize=12, size=12),
            speed=IngestSpeed(scheduler=scheduler, workers=1),
        ),
        shards=Shards(studies_per_shard=2, compression=compression),  # type: ignore[arg-type]
    )


def run(pipeline: Pipeline) -> JobResult:
    return ingest(pipeline, lambda stage, done, total: None)
