"""Which column of a table is what: as the settings name it, else guessed from known spellings.

In: the names in a table, `ingest.columns`. Out: `Taken`, and words that say what was taken for
what. A guess that could go two ways is an error that lists the candidates. Accession numbers alone
never join a table: they collide between patients (two hospitals, one archive), so that a report
would reach a stranger's images.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.errors import UserError
from study.ingest_sections import Columns


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEYS: Mapping[str, frozenset[str]] = {
    "study_uid": _words("studyinstanceuid studyuid siuid studyinstanceid studyinstance 0020000d"),
    "accession": _words(
        "accession accessionnumber accessionno accessionnum accessionid accessionnr accno accnum "
        "accnumber 00080050"
    ),
    "patient": _words("patientid patid patientnumber patientmrn mrn medicalrecordnumber 00100020"),
    "issuer": _words("issuer issuerofpatientid patientidissuer idissuer 00100021"),
}
"""Spellings of the columns that tell studies apart, without case, spaces and signs."""
WHOLE = _words(
    "report reporttext text fulltext fullreport radiologyreport radreport reportbody reportcontent "
    "reporttxt freetext befund befundtext compterendu informe"
)
"""Of one that holds whole reports."""
SECTIONS: Mapping[str, frozenset[str]] = {
    "FINDINGS": _words("findings finding findingstext findingsen findingssection"),
    "IMPRESSION": _words(
        "impression impressions impressiontext impressionen impressionsen impressionsection "
        "conclusion conclusions"
    ),
}
"""Of those that hold a section each, which are joined under these headings."""
VALUES_SHOWN = 5
NAMES_SHOWN, NAME_SHOWN = 30, 40
"""How many, and how many characters of each."""
KEY_SPELLINGS = frozenset[str]().union(*KEYS.values())
TEXT_SPELLINGS = WHOLE.union(*SECTIONS.values())


@dataclass(frozen=True)
class Taken:
    """The columns of a table; empty: there is none."""

    study_uid: str
    accession: str
    patient: str
    issuer: str
    values: tuple[str, ...]
    """Of texts in the order in which they are joined, or of labels."""
    guessed: bool
    """Not all of it was said by the settings."""

    @property
    def names(self) -> list[str]:
        """All of them."""
        keys = (self.study_uid, self.accession, self.patient, self.issuer)
        return list(dict.fromkeys(name for name in (*keys, *self.values) if name))

    def words(self, what: str) -> str:
        """For people; `what` is "text is" or "labels are"."""
        keys = {name: getattr(self, name) for name in KEYS if getattr(self, name)}
        said = [f"{name} is {column!r}" for name, column in keys.items()]
        shown = [*map(repr, self.values[:VALUES_SHOWN])]
        if len(self.values) > VALUES_SHOWN:
            shown.append(f"{len(self.values) - VALUES_SHOWN} more")
        several = ", ".join(shown[:-1])
        values = f"{several} and {shown[-1]}" if several else shown[-1]
        return ", ".join([*said, f"{what} {values}"])


def text_columns(key: str, file: str, found: Sequence[str], columns: Columns) -> Taken:
    """Columns of a table of reports. Raises UserError: none, or several, could be meant."""
    _not_twice(key, file, found)
    return _taken(key, file, found, columns, _texts(key, file, found, columns), bool(columns.text))


def label_columns(key: str, file: str, found: Sequence[str], columns: Columns) -> Taken:
    """Columns of a table of labels: those that the settings name, else all that are neither keys
    nor texts. Raises UserError as `text_columns`."""
    _not_twice(key, file, found)
    for name in columns.labels:
        _must_be_there(key, file, found, "labels", name)
    keys = {columns.study_uid, columns.accession, columns.patient, columns.issuer, *columns.text}
    others = tuple(
        name
        for name in found
        if name not in keys and plain(name) not in KEY_SPELLINGS | TEXT_SPELLINGS
    )
    values = columns.labels or others
    if not values:
        raise UserError(f"{key}: {file} has no column of labels; it has {_list(found)}")
    return _taken(key, file, found, columns, values, bool(columns.labels))


def heading(column: str) -> str:
    """What stands above the text of one column of several.

    >>> heading("Impressions_EN"), heading("clinical_info")
    ('IMPRESSION', 'CLINICAL INFO')
    """
    known = (name for name, spellings in SECTIONS.items() if plain(column) in spellings)
    return next(known, column.replace("_", " ").strip().upper())


def plain(name: str) -> str:
    """A name without case, spaces and signs.

    >>> plain(" Study_Instance UID")
    'studyinstanceuid'
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum())


def known_names(found: Sequence[str], columns: Columns) -> int:
    """How many of the names the settings or this file know: tells separators apart."""
    said = {columns.study_uid, columns.accession, columns.patient, *columns.text, *columns.labels}
    return sum(name in said or plain(name) in KEY_SPELLINGS | TEXT_SPELLINGS for name in found)


def _taken(
    key: str,
    file: str,
    found: Sequence[str],
    columns: Columns,
    values: tuple[str, ...],
    values_said: bool,
) -> Taken:
    study = _column(key, file, found, columns, "study_uid", must_be_clear=True)
    others = {
        role: _column(key, file, found, columns, role, must_be_clear=not study)
        for role in ("accession", "patient", "issuer")
    }
    if not study and not (others["accession"] and others["patient"]):
        raise UserError(f"{key}: {file} {_why_no_key(others)}; it has {_list(found)}")
    said = bool(columns.study_uid or (columns.accession and columns.patient))
    return Taken(study, **others, values=values, guessed=not (said and values_said))


def _not_twice(key: str, file: str, found: Sequence[str]) -> None:
    twice = next((name for name in found if name and found.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{key}: {file} has two columns {twice!r}")


def _why_no_key(others: Mapping[str, str]) -> str:
    hint = "name the columns in ingest.columns"
    if others["accession"]:
        return (
            f"has accession numbers ({others['accession']!r}) without the patients' IDs: one "
            "number may stand for studies of several patients, so that rows join on "
            f"StudyInstanceUID, or on accession number and PatientID together; {hint} (patient)"
        )
    return (
        "has no column with the StudyInstanceUID, nor accession number and PatientID; "
        f"{hint} (study_uid, or accession and patient)"
    )


def _column(
    key: str, file: str, found: Sequence[str], columns: Columns, role: str, *, must_be_clear: bool
) -> str:
    """The column of a role, or nothing; where two could be meant, an error if it must be clear."""
    if said := getattr(columns, role):
        _must_be_there(key, file, found, role, said)
        return str(said)
    candidates = [name for name in found if plain(name) in KEYS[role]]
    if len(candidates) > 1 and must_be_clear:
        raise _ambiguous(key, file, role, candidates)
    return candidates[0] if len(candidates) == 1 else ""


def _texts(key: str, file: str, found: Sequence[str], columns: Columns) -> tuple[str, ...]:
    if columns.text:
        for name in columns.text:
            _must_be_there(key, file, found, "text", name)
        return columns.text
    whole = [name for name in found if plain(name) in WHOLE]
    sections = {h: [n for n in found if plain(n) in known] for h, known in SECTIONS.items()}
    parts = [names for names in sections.values() if names]
    if len(whole) + bool(parts) > 1 or any(len(names) > 1 for names in parts):
        raise _ambiguous(key, file, "text", [*whole, *(n for names in parts for n in names)])
    if not whole and not parts:
        raise UserError(
            f"{key}: {file} has no column that is known to hold reports; set ingest.columns.text "
            f"to its name; it has {_list(found)}"
        )
    return tuple(whole or (names[0] for names in parts))


def _must_be_there(key: str, file: str, found: Sequence[str], role: str, name: str) -> None:
    if name not in found:
        raise UserError(
            f"{key}: {file} has no column {name!r} (ingest.columns.{role}); it has {_list(found)}"
        )


def _ambiguous(key: str, file: str, role: str, candidates: Sequence[str]) -> UserError:
    return UserError(
        f"{key}: {file} has several columns that could be meant: {_list(candidates)}; "
        f"say which in ingest.columns.{role}"
    )


def _list(names: Sequence[str]) -> str:
    """Names, in part where they are many or long: a file without a header has texts there."""
    shown = [name if len(name) <= NAME_SHOWN else f"{name[:NAME_SHOWN]}..." for name in names]
    more = [f"{len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    return ", ".join([*shown[:NAMES_SHOWN], *more]) or "none"
