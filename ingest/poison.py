"""A study that ends its worker: found, tried alone, and set aside.

In: a shard's studies, once a worker has died of the shard. Out: what converting each gives, or the
reason why it gives nothing. The idea: a dead worker cannot say what it died of, and what killed it
may have been someone's kill -9 or the end of a walltime. So no guess is made: the shard is made
again with every study converted in a process of its own that may be lost (`ingest.supervise`). That
process tells good from bad: a study that breaks it twice is rejected, all others give the very
bytes that they would have given in the worker. A kill from outside only makes a shard slower.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from ingest.machine import one_thread
from ingest.supervise import Limits, Supervised
from ingest.undecodable import UndecodableError
from study.records import Rejection

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

ROOM_BYTES = 2 * 10**9
"""More address space than a decoding process, which runs within this one's limit: the voxels of a
volume and what is made of them, as in a worker."""
LONGEST_S = 24 * 3600.0
"""For one study. Its decoding has limits of its own."""


@contextlib.contextmanager
def each_alone(
    function: Callable[Arguments, Result], limits: Limits
) -> Iterator[Callable[Arguments, Result | Rejection]]:
    """The function, called in a process that may be lost: its result, or, where it broke the
    process twice, why (DECODE_CRASH, DECODE_MEMORY). `limits` are those of decoding. Exceptions of
    the function are raised, as are those of the disk."""
    room = replace(
        limits,
        memory_bytes=limits.memory_bytes + ROOM_BYTES,
        cpu_s=math.inf,
        wall_s=LONGEST_S,
    )
    with Supervised(room) as child:

        def alone(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result | Rejection:
            try:
                return child.call(_expendable, partial(function, *arguments, **named))
            except UndecodableError as error:
                return Rejection(error.reason, error.detail)

        yield alone


def _expendable(call: Callable[[], Result]) -> Result:
    """Call, as the first to be ended where the system runs out of memory: not the worker."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    one_thread()
    try:
        return call()
    except OSError as error:
        if error.errno == errno.ENOMEM:  # the limit here is ours, and the study's to keep
            raise MemoryError from error
        raise
