"""Any header, read by pydicom: what `fast_header` leaves.

In: an open file. Out: a `SlowHeader`, which answers as a `fast_header.Header` does, or None for
what is not DICOM. One element that cannot be converted is a missing element, not a lost file;
deflated data is inflated here, because pydicom would do so without a limit. Sources: DICOM PS3.10
7.1 (preamble), PS3.5 A.5 (deflated), PS3.3 C.7.6.16 (functional groups).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from ingest import limits
from ingest.elements import UNDEFINED
from ingest.fast_values import TAGS
from ingest.truncation import Truncated
from ingest.values import Source

META_GROUP = 0x0002
PIXEL_TAGS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
"""PixelData, FloatPixelData, DoubleFloatPixelData."""
INFLATED_PER_READ = 1 << 20


class Lenient:
    """A data set whose elements are missing where pydicom cannot convert them.

    >>> Lenient(Dataset()).get("EchoTime") is None
    True
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._present = dataset.keys()

    def get(self, name: str | int) -> Any:
        """The value of a keyword, or of a private tag."""
        tag = TAGS.get(name, 0) if isinstance(name, str) else name
        if tag and tag not in self._present:
            return None  # which pydicom would say too, but not so soon
        try:
            found = self.dataset.get(name)
        except Exception:  # whatever pydicom makes of the bytes
            return None
        if not isinstance(name, str) and found is not None:
            found = found.value
        return None if found == b"" else found


class SlowHeader(Lenient):
    """Values at the top of a data set, and those of its frames."""

    def __init__(self, dataset: Dataset, meta: Dataset, stream: BinaryIO, num_bytes: int) -> None:
        super().__init__(dataset)
        self.file_meta = Lenient(meta)
        self.transfer_syntax_uid = str(self.file_meta.get("TransferSyntaxUID") or "")
        self.stream = stream
        """What `pixels` is a place in: the file, or what was inflated of it."""
        self.stream_bytes = num_bytes
        big = self.transfer_syntax_uid == ExplicitVRBigEndian
        self.pixels = _pixels(stream, ">" if big else "<")
        """Where the value of PixelData begins, and its length (-1: encapsulated); None without."""
        frames = self.get("PerFrameFunctionalGroupsSequence")
        self._frames = frames if isinstance(frames, Sequence) else Sequence()
        self.num_groups = len(self._frames)
        if self.num_groups > limits.MAX_FRAMES:
            raise limits.TooLarge(f"more than {limits.MAX_FRAMES} frames")

    def frames(self) -> Iterator[list[Source]]:
        """Of every frame: its own groups, then the shared ones, then the top."""
        shared = self.get("SharedFunctionalGroupsSequence")
        top: list[Source] = []
        if isinstance(shared, Sequence) and shared:
            top.extend(_groups(shared[0]))
        top.append(self)
        for item in self._frames:
            yield [*_groups(item), *top]


def read(stream: BinaryIO, size: int) -> SlowHeader | None:
    """The header of a file of `size` bytes; None for what is not DICOM. Raises whatever pydicom
    raises, Truncated and TooLarge."""
    start = start_of(stream)
    if start is None:
        return None
    stream.seek(start)
    meta = read_dataset(stream, False, True, stop_when=_after_meta)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        stream, size = _inflated(stream)
        dataset = read_dataset(stream, False, True, stop_when=_at_pixels)
    else:
        stream.seek(0)
        try:
            dataset = read_partial(stream, _at_pixels, force=True)
        except struct.error:  # of the length of an element: the file ends within it
            raise Truncated("ends within an element") from None
        _check_end(dataset, stream, size)
        meta = getattr(dataset, "file_meta", FileMetaDataset())
    return SlowHeader(dataset, meta, stream, size)


def _check_end(dataset: Dataset, stream: BinaryIO, size: int) -> None:
    """Raise Truncated where the file ends within an element: pydicom takes that for the end of the
    data set."""
    if stream.tell() < size or not dataset:
        return
    items = list(dataset.values())  # in the order of reading, but one that comes again
    last, raw = items[-1], [item for item in items if isinstance(item, RawDataElement)]
    if isinstance(last, RawDataElement) and last.length != UNDEFINED:
        if last is not max(raw, key=lambda item: item.value_tell):
            return
        end = last.value_tell + last.length
        stream.seek(min(end, size))
        if end > size or stream.read().strip(b"\0"):
            raise Truncated("ends within an element")


def start_of(stream: BinaryIO) -> int | None:
    """Where the first element is: after a Part 10 preamble, or (old exports) at once, of group
    0002 or 0008; None where neither."""
    stream.seek(0)
    head = stream.read(132)
    if head[128:132] == b"DICM":
        return 132
    if len(head) < 8:
        return None
    group, element, length = struct.unpack("<HHI", head[:8])
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    fits = group in (0x0002, 0x0008) and element < 0x0100 and (explicit or length < 0x0400)
    return 0 if fits else None


def _after_meta(tag: int, vr: str | None, length: int) -> bool:
    return tag >> 16 != META_GROUP


def _at_pixels(tag: int, vr: str | None, length: int) -> bool:
    if tag == 0 and length == 0:
        raise ValueError("zeros instead of a data set")  # a million elements a megabyte: minutes
    return tag in PIXEL_TAGS


def _inflated(stream: BinaryIO) -> tuple[BinaryIO, int]:
    """The rest of a deflated file, inflated, and how many bytes that is. Raises TooLarge,
    Truncated, and zlib.error for what is no such data."""
    inflate, out = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    while not inflate.eof and (data := inflate.unconsumed_tail or stream.read(INFLATED_PER_READ)):
        out.write(inflate.decompress(data, INFLATED_PER_READ))
        if out.tell() > limits.LARGEST_INFLATED:
            raise limits.TooLarge(f"more than {limits.LARGEST_INFLATED} bytes when inflated")
    out.write(inflate.flush())
    if not inflate.eof:
        raise Truncated("deflated data has no end")
    num_bytes = out.tell()
    out.seek(0)
    return out, num_bytes


def _pixels(stream: BinaryIO, endian: str) -> tuple[int, int] | None:
    """Where pixel data is, None where there is none; pydicom stops with the stream before it."""
    start = stream.tell()
    head = stream.read(12)
    if len(head) == 0:
        return None
    if len(head) < 8:
        raise Truncated("ends within an element")
    group, element = struct.unpack(f"{endian}HH", head[:4])
    if (group << 16 | element) not in PIXEL_TAGS:
        return None
    explicit = head[4:6] in (b"OW", b"OB", b"OF", b"OD", b"UN")
    if explicit and len(head) < 12:
        raise Truncated("ends within an element")
    length = struct.unpack(f"{endian}I", head[8:12] if explicit else head[4:8])[0]
    return start + (12 if explicit else 8), -1 if length == UNDEFINED else length


def _groups(item: Dataset) -> list[Source]:
    """The first items of all functional group macros in an item of a functional groups sequence,
    flattened."""
    found: list[Source] = []
    for tag in sorted(item.keys()):
        try:
            element = item[tag]
        except Exception:  # as in Lenient
            continue
        if element.VR == "SQ" and element.value:
            found.append(Lenient(element.value[0]))
            found.extend(_groups(element.value[0]))
    return found
