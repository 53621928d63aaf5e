"""Scans back to NIfTI files, with the study's facts beside them.

In: a sample of a dataset. Out: FOLDER/KEY/s00.nii.gz and s00.json a scan, study.json (labels,
report), sentences.txt. NIfTI's index is (i, j, k) = (w, h, d), so that the file holds the array as
it is stored, and its world is RAS: x and y of LPS turned round (nifti1.h, "method 3"). Values are
those stored, or, with `units`, mapped back to the window's source units by scl_slope and scl_inter;
what the window cut off is gone. Headers and file names hold only what the dataset's allow-list
lets through; gzip's have neither name nor time. The voxels of the source are not in a dataset: its
grid is, as `source_affine`, so that an export lies on its source in any viewer.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.index import SampleRef
from shards.reader import Dataset
from shards.store import LocalStore, write
from study.errors import UserError
from study.records import Matrix

if TYPE_CHECKING:
    import nibabel

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TOP = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0}
"""Stored value of a window's upper limit; the lower one is 0."""
GZIP_LEVEL = 1
HEADER_BYTES = 352
"""NIfTI-1: 348 of the header and four that say that no extension follows."""
SCANNER = 1
"""NIfTI's code for coordinates of the scanner."""


def nifti_affine(affine: Matrix) -> np.ndarray:
    """(d, h, w, 1) -> LPS mm as (w, h, d, 1) -> RAS mm; 4 x 4, voxel centres."""
    turned: np.ndarray = (LPS_TO_RAS @ np.asarray(affine, float))[:, [2, 1, 0, 3]] + 0.0
    return turned  # + 0.0: no negative zeros


def file_names(ref: SampleRef) -> list[str]:
    """Files of a study below the folder, the scans first."""
    scans = [
        f"s{number:02d}{end}" for number in range(len(ref.scans)) for end in (".nii.gz", ".json")
    ]
    return [f"{ref.key}/{name}" for name in (*scans, "study.json", "sentences.txt")]


def refuse_existing(folder: Path, refs: Sequence[SampleRef]) -> None:
    """UserError where a file that would be written is there already."""
    there = [name for ref in refs for name in file_names(ref) if (folder / name).exists()]
    if there:
        raise UserError(
            f"{folder / there[0]} and {len(there) - 1} other files are there already; "
            "--force replaces them"
        )


def export_study(
    dataset: Dataset, ref: SampleRef, folder: LocalStore, *, units: bool = False
) -> list[str]:
    """Write the files of a study; their names below `folder`. Each is there whole or not at all.

    CorruptSample where the dataset's bytes are wrong, UserError for a scan without a usable affine.
    """
    meta = dataset.metadata(ref)
    names = []
    for number, scan in enumerate(meta["scans"]):
        array = dataset.read_scan(ref, number)
        name = f"{ref.key}/{scan['member']}"
        header = nifti_header(scan, units)
        _write_nifti(folder, f"{name}.nii.gz", header, array)
        about = {
            **scan,
            "nifti_index": "i, j, k = w, h, d",
            "nifti_world": "RAS mm",
            "nifti_values": "source units of the window" if units else "as stored",
        }
        write(folder, f"{name}.json", _json(about))
        names += [f"{name}.nii.gz", f"{name}.json"]
    about_study = {name: value for name, value in meta.items() if name != "scans"}
    about_study["scans"] = [f"{scan['member']}.nii.gz" for scan in meta["scans"]]
    write(folder, f"{ref.key}/study.json", _json(about_study))
    text = "".join(_sentence_lines(meta["report"]["sentences"]))
    write(folder, f"{ref.key}/sentences.txt", text.encode())
    return [*names, f"{ref.key}/study.json", f"{ref.key}/sentences.txt"]


def nifti_header(scan: dict[str, Any], units: bool) -> nibabel.Nifti1Header:
    """Header of a scan, from its part of KEY.json. The only text in it is modality, plane and
    window."""
    import nibabel  # half a second, which no other command should wait for

    affine = nifti_affine(scan["affine"])
    if abs(np.linalg.det(affine[:3, :3])) == 0:
        raise UserError(f"scan {scan['member']}: its affine is flat, it has no place in space")
    low, high = scan["window_limits"]
    top = TOP[scan["dtype"]]
    header = nibabel.Nifti1Header()
    header.set_data_dtype("float32" if scan["dtype"] == "float16" else scan["dtype"])
    header.set_data_shape(scan["shape"][::-1])
    header.set_qform(affine, code=SCANNER)  # the nearest rotation, for readers that know no other
    header.set_sform(affine, code=SCANNER)
    header.set_xyzt_units("mm")
    header["descrip"] = f"{scan['modality']} {scan['plane']} {scan['window']}".encode()
    header["scl_slope"], header["scl_inter"] = ((high - low) / top, low) if units else (1, 0)
    header["cal_min"], header["cal_max"] = (low, high) if units else (0, top)
    header["vox_offset"] = HEADER_BYTES
    return header


def _write_nifti(
    folder: LocalStore, name: str, header: nibabel.Nifti1Header, array: np.ndarray
) -> None:
    new = folder.create(name)
    try:
        with gzip.GzipFile("", "wb", GZIP_LEVEL, new.stream, mtime=0) as stream:
            stream.write(header.binaryblock + bytes(4))
            values = array.astype(header.get_data_dtype(), copy=False)
            stream.write(np.ascontiguousarray(values).data)
        new.publish()
    finally:
        new.discard()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _sentence_lines(sentences: dict[str, list[str]]) -> Iterator[str]:
    """Headings of variants, and a sentence a line."""
    for variant, found in sorted(sentences.items()):
        yield f"# {variant}\n"
        yield from (f"{' '.join(sentence.split())}\n" for sentence in found)
