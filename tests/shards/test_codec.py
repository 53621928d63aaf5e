import io

import numpy as np
import pytest

from shards import codec

DTYPES = ["uint8", "int16", "float16", "float32"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [codec.RAW, codec.ZSTD])
def test_round_trip(kind: str, dtype: str) -> None:
    array = np.arange(120).reshape(4, 5, 6).astype(dtype)
    payload = codec.encode(array, kind)
    again = codec.decode(payload, kind)
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)
    assert codec.encode(np.asfortranarray(array), kind) == payload


def test_numpy_reads_a_raw_member_and_the_offset_is_that_of_its_data() -> None:
    array = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    payload = codec.encode(array, codec.RAW)
    assert np.array_equal(np.load(io.BytesIO(payload)), array)
    offset, shape, dtype = codec.npy_data_offset(payload)
    assert payload[offset:] == array.tobytes()
    assert (shape, dtype) == (array.shape, array.dtype)


def test_decompress_into_a_row_of_a_batch() -> None:
    array = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    payload = np.frombuffer(codec.encode(array, codec.ZSTD), np.uint8)
    offset, _, _ = codec.npy_data_offset(codec.encode(array, codec.RAW))
    batch = np.zeros((2, 4, 5, 6), np.uint8)
    codec.decompress_into(payload, batch[1], offset)
    assert np.array_equal(batch[1], array)
    assert not batch[0].any()
    for wrong in (
        np.zeros((4, 5, 7), np.uint8),
        np.zeros((4, 5, 5), np.uint8),
        np.zeros((5, 4, 6), np.uint8),
    ):
        with pytest.raises(codec.DecodeError):
            codec.decompress_into(payload, wrong, offset)


@pytest.mark.parametrize("kind", [codec.RAW, codec.ZSTD])
def test_broken_bytes_are_named(kind: str) -> None:
    payload = codec.encode(np.arange(120, dtype=np.uint8).reshape(4, 5, 6), kind)
    for broken in (payload[:-1], payload + b"x", b"", b"x" * len(payload)):
        with pytest.raises(codec.DecodeError):
            codec.decode(broken, kind)


def test_pickled_objects_are_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(codec.DecodeError):
        codec.decode(stream.getvalue(), codec.RAW)


@pytest.mark.parametrize(
    "text", ["{'shape': (4, 6, 5(, }", "{'shape': (4, 6, 5", "{'shape': \"", "{1: 2}", "[[]]", "4L"]
)
def test_a_header_that_does_not_parse_is_no_header(text: str) -> None:
    """numpy parses it as Python, and lets that parser's errors through."""
    body = text.encode().ljust(117) + b"\n"
    with pytest.raises(codec.DecodeError, match=r"not a \.npy header"):
        codec.npy_data_offset(b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body)
