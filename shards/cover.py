"""The picture on the first page of a dataset: some scans of its first studies.

In: the tars and tables of committed shards. Out: a contact sheet as PNG, the same for the same
shards (and the same Pillow). It shows studies of the train split alone: nobody should come to know
those of the test split by looking at a README. A study that cannot be read is passed over: `verify`
is there to name it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards import codec, commit, layout, sidecar
from shards.index import Address, SampleRef
from shards.preview import contact_sheet
from shards.store import Store
from study.records import Study

PICTURE_FILE = "preview.png"
STUDIES, SCANS, SENTENCES = 3, 4, 3
"""Shown at most: studies, scans of a study, sentences of a summariser."""
CHARACTERS = 200
"""Of a sentence."""
TILE = 112
"""Height and width of a slice in pixels: the sheet stays below a megabyte."""
_TRIES = 12
"""Studies that are opened at most."""


def picture(place: Store, is_latest: Mapping[int, np.ndarray]) -> bytes | None:
    """PNG of the first studies that are in the index (see `census.Survey.is_latest`); None where no
    study of the train split has a scan that can be read."""
    studies: list[Study] = []
    for ref in _first(place, is_latest):
        try:
            studies.append(_some_of(place, ref))
        except (OSError, ValueError, KeyError):
            continue
        if len(studies) == STUDIES:
            break
    if not studies:
        return None
    stream = io.BytesIO()
    contact_sheet(studies, tile=TILE).save(stream, "png")
    return stream.getvalue()


def _first(place: Store, is_latest: Mapping[int, np.ndarray]) -> Iterator[SampleRef]:
    left = _TRIES
    for shard, latest in sorted(is_latest.items()):
        columns = ["key", "patient", "split", "status", "num_scans", "members"]
        table = sidecar.read(place, shard, columns)
        table = table.filter(pc.equal(table["status"], "used")).filter(pa.array(latest))
        shown = pc.and_(pc.equal(table["split"], "train"), pc.greater(table["num_scans"], 0))
        found = sidecar.samples(table.filter(shown).slice(0, left), shard)
        yield from found
        left -= len(found)
        if not left:
            return


def _some_of(place: Store, ref: SampleRef) -> Study:
    """A study with its first scans and sentences alone. ValueError where it has none to show."""
    meta = json.loads(_payload(place, ref, ref.metadata))
    report = meta["report"]
    said = {
        name: [sentence[:CHARACTERS] for sentence in found[:SENTENCES]]
        for name, found in report["sentences"].items()
    }
    some = {"scans": meta["scans"][:SCANS], "report": {**report, "sentences": said}}
    arrays = [
        codec.decode(_payload(place, ref, address), address.codec) for address in ref.scans[:SCANS]
    ]
    study = layout.study_from_json({**meta, **some}, arrays)
    if not all(np.linalg.det(np.array(scan.affine)[:3, :3]) for scan in study.scans):
        raise ValueError("a scan without extent")
    return study


def _payload(place: Store, ref: SampleRef, address: Address) -> bytes:
    return place.read(commit.tar_name(ref.shard), address.offset, address.length)
