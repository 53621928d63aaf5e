"""Data sets in every transfer syntax that something here can write."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from dicom_files import make_slice
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED = (
    f"1.2.840.10008.1.2{rest}" for rest in ("", ".1", ".2", ".1.99")
)
RLE, DEFLATED_FRAMES = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000, JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
HTJ2K = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))


def image_of(frames: np.ndarray, bits: int, *, is_signed: bool = False, **tags: Any) -> Dataset:
    """An uncompressed data set of (frames, rows, columns), `bits` stored in as few bytes."""
    frames = frames if frames.ndim == 3 else frames[np.newaxis]
    allocated = 8 if bits <= 8 else 16 if bits <= 16 else 32
    ds = make_slice(np.zeros(frames.shape[1:]))
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits, bits - 1
    ds.PixelRepresentation = int(is_signed)
    words = frames.astype(np.int64) & ((1 << bits) - 1)
    ds.PixelData = words.astype(f"<u{allocated // 8}").tobytes()
    ds["PixelData"].VR = "OW"
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def encapsulated(ds: Dataset, syntax: str, frames: list[bytes], **options: Any) -> Dataset:
    """The data set with these codestreams as its pixels."""
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.PixelData = encapsulate(frames, **options)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def save(ds: Dataset, path: Path, syntax: str | None = None) -> str:
    """Write a data set, in another uncompressed transfer syntax where one is given."""
    if syntax is not None:
        ds.file_meta.TransferSyntaxUID = UID(syntax)
        if syntax == BIG_ENDIAN:
            kind = f"u{ds.BitsAllocated // 8}"
            ds.PixelData = np.frombuffer(ds.PixelData, kind).byteswap().tobytes()
            if ds.BitsAllocated == 8:  # in words of two bytes
                ds.PixelData = np.frombuffer(ds.PixelData, "u2").byteswap().tobytes()
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_transfer_syntax:
        pydicom.dcmwrite(path, ds, enforce_file_format=True)
    else:  # one that pydicom does not know
        ds.file_meta.TransferSyntaxUID = UID(HTJ2K[0])
        pydicom.dcmwrite(path, ds, enforce_file_format=True)
        known, other = (uid.encode().ljust(24, b"\0") for uid in (HTJ2K[0], syntax))
        path.write_bytes(path.read_bytes().replace(known, other, 1))
    return str(path)


def compressed(ds: Dataset, syntax: str) -> Dataset:
    """The data set with its frame encoded: by pydicom's encoders, by GDCM for JPEG."""
    if syntax == DEFLATED_FRAMES:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        frame = deflater.compress(ds.PixelData) + deflater.flush()
        return encapsulated(ds, syntax, [frame])
    if syntax in (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        return gdcm_encoded(ds, syntax)
    options: dict[str, Any] = {"j2k_cr": [2]} if syntax == JPEG_2000_LOSSY else {}
    options |= {"jls_error": 2} if syntax == JPEG_LS_NEAR else {}
    options |= {"encoding_plugin": "pydicom"} if syntax == RLE else {}  # GDCM's may abort
    ds.compress(UID(syntax), generate_instance_uid=False, **options)
    return ds


def gdcm_encoded(ds: Dataset, syntax: str) -> Dataset:
    """The data set as GDCM compresses it. Through files: GDCM's objects do not survive another
    use from Python."""
    with tempfile.TemporaryDirectory() as folder:
        plain, coded = f"{folder}/plain.dcm", f"{folder}/coded.dcm"
        pydicom.dcmwrite(plain, ds, enforce_file_format=True)
        reader = gdcm.ImageReader()
        reader.SetFileName(plain)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(coded)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return pydicom.dcmread(coded)
