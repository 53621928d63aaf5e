"""The other side of `ingest.supervise`: a process that calls functions and may die of it.

In: pickled calls from a socket. Out: their results; arrays go through memory that both processes
have open, not through the socket, and a spooled volume as the open file that it is in. Run as
`python -m ingest.child SOCKET MEMORY PARENT LIMIT`: two file descriptors, the parent's process id,
and the bytes of address space. Imports are few, so that it starts fast.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import Any

READY = "ready"
DONE, FAILED, NO_MEMORY = "done", "failed", "no memory"
PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal that a process gets when its parent dies."""


def main() -> None:
    """Serve calls until the socket closes."""
    socket, memory, parent, address_space = (int(argument) for argument in sys.argv[1:5])
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _limit(address_space)
    from ingest.spooled import Spooled  # numpy, within the limit: it must have room for that

    connection: Connection[bytes, bytes] = Connection(socket)
    connection.send_bytes(pickle.dumps((READY, None, [], time.process_time())))
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        answer, result = _answer(request, memory)
        connection.send_bytes(answer)
        if isinstance(result, Spooled):
            send_handle(connection, result.file, parent)
        del result  # not to be there beside the next one


def _die_with(parent: int) -> None:
    """End when the parent does, however it ends: also within a loop that reads no socket."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit(1)


def _limit(address_space: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere it is not enforced, or includes what libraries map
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


def _answer(request: bytes, memory: int) -> tuple[bytes, Any]:
    """(kind, result, lengths of the arrays in `memory`, CPU seconds of this process), pickled; and
    the result itself."""
    buffers: list[pickle.PickleBuffer] = []
    value = None
    try:
        function, arguments = pickle.loads(request)
        value = function(*arguments)
        result = pickle.dumps(value, 5, buffer_callback=buffers.append)
        lengths = _write(memory, buffers)
        answer = DONE, result, lengths, time.process_time()
    except MemoryError:
        value, answer = None, (NO_MEMORY, b"", [], time.process_time())
    except Exception as error:
        value, answer = None, (FAILED, _pickled(error), [], time.process_time())
    return pickle.dumps(answer), value


def _pickled(error: Exception) -> bytes:
    """The exception itself where it survives the journey, else what it says."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"[:1000]))
    return data


def _write(memory: int, buffers: list[pickle.PickleBuffer]) -> list[int]:
    """Put buffers one after the other into the shared memory."""
    position, lengths = 0, []
    for buffer in buffers:
        view: Any = buffer.raw()
        lengths.append(view.nbytes)
        while view.nbytes:
            written = os.pwrite(memory, view, position)
            position += written
            view = view[written:]
        buffer.release()
    return lengths


if __name__ == "__main__":
    main()
