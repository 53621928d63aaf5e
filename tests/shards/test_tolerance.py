"""Corrupt samples are told once each, and stop at the user's limit."""

import pytest
from made_studies import key_of

from shards.index import Address
from shards.reader import CorruptSample
from shards.tolerance import Tolerance
from study.errors import UserError


def problem(number: int, member: str = "s00.npy") -> CorruptSample:
    key = key_of(number)
    address = Address(f"{key}.{member}", 1536, 9, 0, (), "", "npy", 0)
    return CorruptSample("00002.tar", key, address, "crc32c is wrong")


def test_each_sample_is_told_once_up_to_the_limit() -> None:
    told: list[CorruptSample] = []
    late: list[CorruptSample] = []
    tolerance = Tolerance(2, "train.max_corrupt", "/data")
    tolerance.listen(told.append)
    first, second, third = problem(1), problem(2), problem(3)
    for error in (first, problem(1, "s01.npy"), second, first, second):
        tolerance.admit(error)
    tolerance.listen(late.append)
    assert told == late == [first, second]
    with pytest.raises(UserError) as caught:
        tolerance.admit(third)
    for said in ("/data is damaged", "00002.tar", key_of(3), "byte 1536", "3 samples", "allows 2"):
        assert said in str(caught.value)
    assert told == late == [first, second, third]


def test_by_default_the_first_one_stops() -> None:
    with pytest.raises(UserError, match=r"a sample, train\.max_corrupt allows 0"):
        Tolerance(0, "train.max_corrupt", "/data").admit(problem(1))
