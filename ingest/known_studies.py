"""Which studies a crawl found: by StudyInstanceUID, and by accession number and patient.

In: the images of a crawl, some at a time. Out: `Known`, which says of a row of the reports whether
its study is there, and which study an accession number of a patient is. The idea: hashes in sorted
arrays, with the texts about 120 bytes a study, so that a million studies take some hundred
megabytes; a report whose study is not there need not be carried further.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.report_files import Key

COLUMNS = ("study_uid", "accession_number", "patient_key")
HASH = "S16"
"""15 bytes and a last one that is no zero: numpy takes zeros at the end for none."""
MERGE_ROWS = 1 << 20
"""Rows that wait before they are made distinct."""
SLICE_ROWS = 1 << 16
"""Rows that are Python's objects at a time."""


@dataclass(frozen=True)
class Known:
    """Sorted hashes of the studies that there are, and of their accession numbers with their
    patients."""

    studies: np.ndarray
    orders: np.ndarray
    order: np.ndarray
    """Row of `rows` that each of `orders` is of."""
    rows: pa.Table
    """StudyInstanceUID and patient key."""

    def has(self, study_uid: str) -> bool:
        """Whether a study is there."""
        at = int(np.searchsorted(self.studies, hashed(study_uid)))
        return bool(at < len(self.studies) and self.studies[at] == hashed(study_uid))

    def studies_of(self, key: Key) -> list[str]:
        """StudyInstanceUIDs of the studies with an accession number and patient, in order: one, as
        a rule. Where the row names no issuer, of the patients of any issuer."""
        wanted = hashed(key.accession, key.patient)
        start, end = (int(np.searchsorted(self.orders, wanted, side)) for side in ("left", "right"))
        found = [
            tuple(column[int(row)].as_py() for column in self.rows.columns)
            for row in self.order[start:end]
        ]
        return sorted({uid for uid, patient in found if key.issuer in ("", _issuer(patient))})


def hashed(*parts: str) -> bytes:
    """Hash of some texts, of a fixed length."""
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=15).digest() + b"."


class Finder:
    """Collects the studies of a crawl."""

    def __init__(self) -> None:
        self._rows = [pa.table({name: pa.array([], pa.string()) for name in COLUMNS})]
        self._hashes = [np.array([], HASH)]
        """Of whole rows."""

    def add(self, images: pa.Table) -> None:
        """Some rows of the table of images."""
        rows = images.select(list(COLUMNS)).filter(pc.not_equal(images["study_uid"], ""))
        rows = rows.group_by(list(COLUMNS)).aggregate([]).select(list(COLUMNS))
        self._rows.append(rows)
        self._hashes.append(_hashes(zip(*(c.to_pylist() for c in rows.columns), strict=True)))
        if sum(map(len, self._rows[1:])) > MERGE_ROWS:
            self._merge()

    def _merge(self) -> None:
        """Make rows distinct by their hashes: Arrow's own way takes five times the memory."""
        hashes, first = np.unique(np.concatenate(self._hashes), return_index=True)
        self._hashes = [hashes]
        rows, self._rows = pa.concat_tables(self._rows), []
        self._rows = [rows.take(pa.array(first)).combine_chunks()]

    def known(self) -> Known:
        """All that was found."""
        self._merge()
        rows = self._rows[0]
        studies, orders, at = [np.array([], HASH)], [np.array([], HASH)], [np.array([], np.int64)]
        for start in range(0, len(rows), SLICE_ROWS):
            uids, accessions, patients = (
                column.to_pylist() for column in rows.slice(start, SLICE_ROWS).columns
            )
            pairs = [
                (accession.strip(), _patient(patient))
                for accession, patient in zip(accessions, patients, strict=True)
            ]
            studies.append(_hashes((uid,) for uid in uids))
            orders.append(_hashes(pair for pair in pairs if all(pair)))
            at.append(start + np.flatnonzero([all(pair) for pair in pairs]))
        hashes = np.concatenate(orders)
        order = np.argsort(hashes, kind="stable")
        return Known(
            np.unique(np.concatenate(studies)),
            hashes[order],
            np.concatenate(at)[order],
            rows.drop(["accession_number"]),
        )


def _hashes(parts: Iterable[tuple[str, ...]]) -> np.ndarray:
    return np.array([hashed(*some) for some in parts], HASH)


def _issuer(patient_key: str) -> str:
    return patient_key.rpartition("|")[0].strip()


def _patient(patient_key: str) -> str:
    return patient_key.rpartition("|")[2].strip()
