"""DICOM SR documents for tests, built in memory."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"
Item = tuple[Any, ...]
"""(name, text), (name, [items]) for a container, or (name, number, unit)."""


def code(meaning: str, value: str = "X1", scheme: str = "99TEST") -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def item(name: str, value: Any, unit: str = "", relationship: str = "CONTAINS") -> Dataset:
    """A content item: a container of a list, a number with a unit, or a text."""
    ds = Dataset()
    ds.RelationshipType = relationship
    ds.ConceptNameCodeSequence = [code(name)] if name else []
    if isinstance(value, list):
        ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
        ds.ContentSequence = value
    elif unit:
        measured = Dataset()
        measured.NumericValue = value
        measured.MeasurementUnitsCodeSequence = [code(unit, unit, "UCUM")]
        ds.ValueType, ds.MeasuredValueSequence = "NUM", [measured]
    else:
        ds.ValueType, ds.TextValue = "TEXT", value
    return ds


def document(content: list[Dataset], title: Dataset | None = None, **tags: Any) -> Dataset:
    """A Basic Text SR document; `tags` are DICOM keywords."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = BASIC_TEXT, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.88"
    ds.PatientID, ds.PatientName, ds.Modality = "P1", "Doe^Jane", "SR"
    ds.ContentDate, ds.ContentTime = "20200101", "120000"
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [title or code("Radiology Report", "18748-4", "LN")]
    ds.ContentSequence = content
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def replacing(documents: list[Dataset]) -> list[Dataset]:
    """A PredecessorDocumentsSequence."""
    instances = []
    for old in documents:
        instance = Dataset()
        instance.ReferencedSOPClassUID = old.SOPClassUID
        instance.ReferencedSOPInstanceUID = old.SOPInstanceUID
        instances.append(instance)
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2.3.4.88", instances
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.2.3.4", [series]
    return [study]
