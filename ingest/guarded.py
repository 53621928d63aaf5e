"""Many small calls in a supervised child, at the price of one.

In: a function and what it is to be called with. Out: its results in order; where a call broke the
child or a limit, what `failed` makes of the reason. The idea: all calls go to the child as one;
only when that breaks are they made one by one, to find the one that did it: there alone a second
try counts, as every try may cost all of a limit. Headers need this as much as pixels: a general
parser takes minutes over some megabytes of zeros in a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from ingest.supervise import Supervised
from ingest.undecodable import UndecodableError
from study.records import Rejection

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def each(
    child: Supervised,
    function: Callable[[Argument], Result],
    arguments: Sequence[Argument],
    failed: Callable[[Argument, Rejection], Result],
) -> list[Result]:
    """[function(argument) for every argument], run in the child.

    `function` must be picklable and give the same result when it is called again. An
    UndecodableError of its own counts as a breach does; other exceptions are raised.
    """
    if len(arguments) > 1:
        with suppress(UndecodableError):
            return child.call(_all, function, list(arguments), tries=1)
    results = []
    for argument in arguments:
        try:
            results.append(child.call(function, argument))
        except UndecodableError as error:
            results.append(failed(argument, Rejection(error.reason, error.detail)))
    return results


def _all(function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
    return [function(argument) for argument in arguments]
