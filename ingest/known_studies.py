"""Which studies a crawl found: by StudyInstanceUID, and by accession number and patient.

In: the images of a crawl, some at a time. Out: `Known`, which says of a row of the reports whether
its study is there, and which study an accession number of a patient is. The idea: a hash a study in
a sorted array, about 150 bytes, so that a million studies take little memory; a report whose study
is not there need not be carried further.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.report_files import Key

COLUMNS = ("study_uid", "accession_number", "patient_key")
HASH = "S32"
"""16 bytes in hexadecimal: an array of bytes would lose zeros at its end."""
MERGE_ROWS = 1 << 20
"""Rows that wait before they are made distinct."""


@dataclass(frozen=True)
class Known:
    """Sorted hashes of the studies that there are, and of their accession numbers with their
    patients."""

    studies: np.ndarray
    orders: np.ndarray
    uids: pa.Array
    """StudyInstanceUID of each of `orders`."""
    issuers: pa.Array
    """IssuerOfPatientID of each."""

    def has(self, study_uid: str) -> bool:
        """Whether a study is there."""
        at = int(np.searchsorted(self.studies, hashed(study_uid)))
        return at < len(self.studies) and self.studies[at] == hashed(study_uid)

    def studies_of(self, key: Key) -> list[str]:
        """StudyInstanceUIDs of the studies with an accession number and patient, in order: one, as
        a rule. Where the row names no issuer, of the patients of any issuer."""
        wanted = hashed(key.accession, key.patient)
        start, end = (int(np.searchsorted(self.orders, wanted, side)) for side in ("left", "right"))
        found = range(start, end)
        return sorted(
            {
                self.uids[row].as_py()
                for row in found
                if not key.issuer or self.issuers[row].as_py() == key.issuer
            }
        )


def hashed(*parts: str) -> bytes:
    """Hash of some texts, of a fixed length."""
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()


class Finder:
    """Collects the studies of a crawl."""

    def __init__(self) -> None:
        self._waiting: list[pa.Table] = []

    def add(self, images: pa.Table) -> None:
        """Some rows of the table of images."""
        self._waiting.append(_distinct(images.select(list(COLUMNS))))
        if sum(map(len, self._waiting)) > MERGE_ROWS and len(self._waiting) > 1:
            merged = _distinct(pa.concat_tables(self._waiting))
            self._waiting = [merged]

    def known(self) -> Known:
        """All that was found."""
        empty = pa.table({name: pa.array([], pa.string()) for name in COLUMNS})
        found = _distinct(pa.concat_tables([empty, *self._waiting]))
        studies = pc.unique(found["study_uid"]).to_pylist()
        orders, uids, issuers = [], [], []
        for uid, accession, patient_key in zip(*found.columns, strict=True):
            issuer, _, patient = patient_key.as_py().rpartition("|")
            accession = accession.as_py().strip()
            if accession and patient.strip():
                orders.append(hashed(accession, patient.strip()))
                uids.append(uid.as_py())
                issuers.append(issuer.strip())
        order = np.argsort(np.array(orders, HASH), kind="stable")
        return Known(
            np.sort(np.array([hashed(uid) for uid in studies], HASH)),
            np.array(orders, HASH)[order],
            pa.array(uids, pa.string()).take(pa.array(order, pa.int64())),
            pa.array(issuers, pa.string()).take(pa.array(order, pa.int64())),
        )


def _distinct(rows: pa.Table) -> pa.Table:
    """Distinct rows of those that have a study."""
    kept = rows.filter(pc.not_equal(rows["study_uid"], ""))
    return kept.group_by(list(COLUMNS)).aggregate([]).select(list(COLUMNS))
