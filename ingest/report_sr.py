"""A DICOM Structured Report -> the text that a reader would see.

In: where SR documents are. Out: `Document`: whose it is, which documents it replaces, and its text:
headings of containers in capitals, texts, codes and measurements below them. What only identifies
(persons, dates, references) and what only qualifies (observation context) is left out; a dose
report or a list of measurements is no report. Files are read in a supervised child, as pixels are.
Source: DICOM PS3.3 C.17 (SR document modules), PS3.16 (codes).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pydicom

from ingest import guarded
from ingest.place import Place
from ingest.slow_header import Lenient
from ingest.supervise import Limits, child_of_thread
from ingest.values import text as plain
from study.records import Rejection

SR_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.88.{tail}" for tail in ("11", "22", "33", "34", "35")
)
"""SOP classes of documents that may be reports: Basic Text, Enhanced, Comprehensive, Comprehensive
3D, Extensible SR (PS3.4 B.5)."""
NO_REPORTS = {
    "113701": "an X-ray radiation dose report",
    "113811": "a CT dose report",
    "113500": "a radiopharmaceutical dose report",
    "126000": "a measurement report",
    "111036": "a mammography CAD report",
    "112000": "a chest CAD report",
}
"""Codes of document titles (scheme DCM, PS3.16 annex D) that hold no words of a reader."""
ASIDE = frozenset({"HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT", "INFERRED FROM"})
"""Relationships of items that qualify others (PS3.3 C.17.3.2.4)."""
NO_FILE = (FileNotFoundError, PermissionError, IsADirectoryError)
"""Of the system's errors those that a file has for itself; others are the disk's."""
LARGEST_BYTES = 1 << 25
LARGEST_DEPTH = 32


class Document(NamedTuple):
    """What an SR document says. `fault`: why it is no report; it then has no text."""

    study_uid: str = ""
    sop_uid: str = ""
    text: str = ""
    replaces: tuple[str, ...] = ()
    """SOPInstanceUIDs of the documents of which it is a new version."""
    when: str = ""
    """ContentDate and ContentTime: the order of documents of one study."""
    fault: str = ""


def read_documents(places: Sequence[Place], limits: Limits) -> list[Document]:
    """The documents at some places."""
    return guarded.each(child_of_thread(limits), read_document, list(places), _broken)


def _broken(_: Place, rejection: Rejection) -> Document:
    return Document(fault=f"{rejection.reason}: {rejection.detail}")


def read_document(place: Place) -> Document:
    """The document in a file; whatever is wrong with it is said in it. Raises OSError where the
    disk fails."""
    try:
        if place.size() > LARGEST_BYTES:
            return Document(fault=f"more than {LARGEST_BYTES} bytes")
        with place.open() as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _document(pydicom.dcmread(stream, force=True))
    except NO_FILE as error:
        return Document(fault=error.strerror or type(error).__name__)
    except Exception as error:  # pydicom raises what its input makes it raise
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return Document(fault=f"{type(error).__name__}: {error}"[:200])


def _document(dataset: pydicom.Dataset) -> Document:
    top = Lenient(dataset)
    title = next(_items(top, "ConceptNameCodeSequence"), None)
    code = plain(title.get("CodeValue")) if title else ""
    known = Document(
        study_uid=plain(top.get("StudyInstanceUID")),
        sop_uid=plain(top.get("SOPInstanceUID")),
        replaces=tuple(_predecessors(top)),
        when=plain(top.get("ContentDate")) + plain(top.get("ContentTime")),
    )
    if plain(top.get("SOPClassUID")) not in SR_CLASSES:
        return known._replace(fault="no DICOM SR document of a kind that holds reports")
    if code in NO_REPORTS and title and plain(title.get("CodingSchemeDesignator")) == "DCM":
        return known._replace(fault=NO_REPORTS[code])
    lines = "\n".join(_lines(top, 0)).replace("\r\n", "\n").replace("\r", "\n")
    return known._replace(text=lines.encode("utf-8", "replace").decode().strip())


def _predecessors(top: Lenient) -> Iterator[str]:
    for study in _items(top, "PredecessorDocumentsSequence"):
        for series in _items(study, "ReferencedSeriesSequence"):
            for document in _items(series, "ReferencedSOPSequence"):
                yield plain(document.get("ReferencedSOPInstanceUID"))


def _lines(parent: Lenient, depth: int, around: str = "") -> Iterator[str]:
    """Lines of what a container called `around`, or an item with items of its own, holds. Values of
    a container that is to be read as prose make one line."""
    if depth > LARGEST_DEPTH:
        return
    is_prose = plain(parent.get("ContinuityOfContent")) == "CONTINUOUS"
    prose: list[str] = []
    for item in _items(parent, "ContentSequence"):
        if plain(item.get("RelationshipType")) in ASIDE:
            continue
        name, kind = _meaning(item, "ConceptNameCodeSequence"), plain(item.get("ValueType"))
        if kind == "CONTAINER":
            yield from _together(prose)
            inside = [line for line in _lines(item, depth + 1, name) if line]
            if inside:
                yield from ("", f"{name.upper()}:" if name else "", *inside)
            continue
        value = _value(item, kind)
        if value and is_prose:
            prose.append(value)
        elif value:
            is_said = not name or _stem(name) == _stem(around)  # a Finding among the Findings
            yield value if is_said else f"{name}: {value}"
        yield from _lines(item, depth + 1, name)
    yield from _together(prose)


def _together(prose: list[str]) -> Iterator[str]:
    """What waits of a running text, as a line."""
    if prose:
        yield " ".join(prose)
        prose.clear()


def _stem(name: str) -> str:
    return name.casefold().rstrip("s")


def _value(item: Lenient, kind: str) -> str:
    if kind == "TEXT":
        return plain(item.get("TextValue"))
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        measured = next(_items(item, "MeasuredValueSequence"), None)
        if measured is None:
            return ""
        unit = next(_items(measured, "MeasurementUnitsCodeSequence"), None)
        shown = plain(unit.get("CodeValue")) if unit else ""
        value = plain(measured.get("NumericValue"))
        return f"{value} {shown}".strip() if shown not in ("1", "{1}") else value
    return ""


def _meaning(item: Lenient, keyword: str) -> str:
    code = next(_items(item, keyword), None)
    return plain(code.get("CodeMeaning")) if code else ""


def _items(source: Lenient, keyword: str) -> Iterator[Lenient]:
    found: Any = source.get(keyword)
    for item in found if found is not None and not isinstance(found, str | bytes) else ():
        if isinstance(item, pydicom.Dataset):
            yield Lenient(item)
