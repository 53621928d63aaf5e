"""Arrays <-> bytes of a member.

In: an array. Out: a `.npy` file (format 1.0), or the same as one zstd frame of level 1, and back.
Level 1, because higher levels buy 11 % for a hundred times the time (reference/storage.md). One
frame a member keeps random access, which compressing a whole tar would destroy. A raw member's data
begins at `npy_data_offset`, so that a reader can let the kernel copy it straight into a batch.
Format: numpy.lib.format.
"""

from __future__ import annotations

import io
import threading
import tokenize

import numpy as np
import zstandard

ZSTD_LEVEL = 1
RAW = "npy"
ZSTD = "npy.zst"


class DecodeError(ValueError):
    """The bytes are not what a member of this codec holds."""


def codec_of(member: str) -> str:
    """Codec by the ending of a member's name: npy, npy.zst, or json."""
    for codec in (ZSTD, RAW, "json"):
        if member.endswith("." + codec):
            return codec
    raise ValueError(f"no codec for member {member!r}")


def npy_header(array: np.ndarray) -> bytes:
    """Header of the `.npy` file of a C-ordered array."""
    stream = io.BytesIO()
    fields = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def npy_data_offset(start: bytes) -> tuple[int, tuple[int, ...], np.dtype]:
    """Where the data of a `.npy` file begins, its shape and its dtype, from the first bytes of the
    file.

    DecodeError unless it is format 1.0, in C order and without Python objects, as we write it.
    """
    stream = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f".npy format {version}, expected (1, 0)")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError) as error:
        raise DecodeError(f"not a .npy header: {error}") from None  # numpy parses it as Python
    if fortran_order or dtype.hasobject:
        raise DecodeError(f".npy header with fortran_order={fortran_order}, dtype={dtype}")
    return stream.tell(), shape, dtype


def encode(array: np.ndarray, codec: str) -> bytes:
    """Bytes of the member that holds `array`. Equal arrays give equal bytes, whatever their memory
    order."""
    payload = npy_header(array) + np.ascontiguousarray(array).tobytes()
    if codec == RAW:
        return payload
    assert codec == ZSTD, codec
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress(payload)


def decode(payload: bytes, codec: str) -> np.ndarray:
    """The array in a member. DecodeError where the bytes are short, long or broken."""
    if codec == ZSTD:
        try:
            payload = _decompressor().decompress(payload, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise DecodeError(f"not one zstd frame: {error}") from None
    offset, shape, dtype = npy_data_offset(payload)
    array = np.empty(shape, dtype)
    if len(payload) - offset != array.nbytes:
        raise DecodeError(
            f"{len(payload) - offset} bytes of data, {array.nbytes} expected for {dtype} {shape}"
        )
    array.reshape(-1).view(np.uint8)[:] = np.frombuffer(payload, np.uint8, offset=offset)
    return array


def decompress_into(payload: np.ndarray, out: np.ndarray, array_offset: int) -> None:
    """Decode a zstd member into `out` (C-contiguous), without another copy of the array.

    The header's length is known from the index; the caller has checked shape and dtype against it.
    DecodeError where the frame holds more, less or something else.
    """
    header = bytearray(array_offset)
    rest = out.reshape(-1).view(np.uint8).data
    try:
        with _decompressor().stream_reader(payload.data) as reader:
            filled = _fill(reader, memoryview(header)) and _fill(reader, rest)
            more = reader.read(1) if filled else b""
    except zstandard.ZstdError as error:
        raise DecodeError(f"not one zstd frame: {error}") from None
    if not filled or more:
        raise DecodeError(f"the frame does not hold {array_offset + out.nbytes} bytes")
    _, shape, dtype = npy_data_offset(bytes(header))
    if shape != out.shape or dtype != out.dtype:
        raise DecodeError(f"the frame holds {dtype} {shape}, expected {out.dtype} {out.shape}")


def _fill(reader: zstandard.ZstdDecompressionReader, view: memoryview) -> bool:
    done = 0
    while done < len(view):
        count = reader.readinto(view[done:])
        if not count:
            return False
        done += count
    return True


class _Local(threading.local):
    """A decompressor a thread: zstandard's objects must not be shared by threads."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_LOCAL = _Local()


def _decompressor() -> zstandard.ZstdDecompressor:
    return _LOCAL.decompressor
