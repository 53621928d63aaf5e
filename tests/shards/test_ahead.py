import threading
import time
from collections.abc import Iterator

import pytest

from shards.ahead import ahead


def test_results_come_in_order_by_several_threads() -> None:
    seen = set()

    def work(number: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.005 * (5 - number % 5))
        return number * number

    assert list(ahead(work, range(30), threads=4, window=8)) == [n * n for n in range(30)]
    assert len(seen) > 1


def test_no_more_than_the_window_is_begun() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ahead(lambda number: number, items(), threads=2, window=5)
    assert [next(results), next(results)] == [0, 1]
    assert len(taken) == 6
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 6


def test_an_error_comes_out_in_its_place() -> None:
    results = ahead(lambda number: 6 // (2 - number), range(9), threads=2, window=3)
    assert [next(results), next(results)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
