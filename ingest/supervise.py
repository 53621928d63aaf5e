"""Calls that may crash, hang or eat all memory, in a process that may be lost.

In: a function of a module and its arguments. Out: its result or its exception, as if it had been
called here. The idea: a decoder is a C library that reads what strangers wrote. One child process
is kept for all calls (starting one costs a tenth of a second); it has a limit of address space and,
counted by its parent, of CPU time: seconds of a clock depend on what else the machine does. A call
that breaks a limit, or the child, is tried once more alone in a fresh child; only the second time
it is the file's fault. Plain `subprocess`, because dask's workers may have no children of
multiprocessing.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import multiprocessing.connection
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import recv_handle
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import psutil

from ingest.child import DONE, NO_MEMORY, READY
from ingest.spooled import Spooled
from ingest.undecodable import UndecodableError
from study.ingest_sections import IngestSpeed
from study.quantities import size_bytes
from study.records import Reason

Result = TypeVar("Result")

LOOK_EVERY_S = 0.1
"""How often the CPU time of a busy child is looked at."""
START_S = 120.0
"""A child that is not ready by then does not start."""
KEPT_STDERR = 4096
KEPT_MEMORY = 1 << 26
"""Bytes of shared memory that stay after a call: larger results give theirs back."""
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""Threads, and arenas for them, would take address space that images need."""


@dataclass(frozen=True)
class Limits:
    """What one call may use."""

    cpu_s: float
    memory_bytes: int
    """Address space of the child, with what Python itself takes (about 0.3 GB)."""
    wall_s: float = 3600.0
    """For a call that sleeps: far more than any that works, however loaded the machine is."""


def limits_of(speed: IngestSpeed) -> Limits:
    """What reading one volume, or some headers, may take, from the settings."""
    return Limits(cpu_s=speed.decode_cpu_s, memory_bytes=size_bytes(speed.decode_memory))


USUAL_LIMITS = limits_of(IngestSpeed())


class _BreachError(Exception):
    """The child, or a limit, did not survive a call."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Supervised:
    """Calls functions in a child process. For one thread: the child dies with the thread that
    made the call that started it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._child: _Child | None = None

    def __enter__(self) -> Supervised:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child. A later call starts another."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def call(self, function: Callable[..., Result], *arguments: Any, tries: int = 2) -> Result:
        """function(*arguments), which must be picklable, as its result must be.

        Raises what the function raises; UndecodableError with DECODE_CRASH, DECODE_TIMEOUT or
        DECODE_MEMORY when the last of the `tries` was a breach; OSError where no child can be
        started.
        """
        request = pickle.dumps((function, arguments), 5)
        for tried in range(1, tries + 1):
            if self._child is None or not self._child.is_alive():
                self.close()
                self._child = _started(self._limits)
            try:
                is_result, value = self._child.ask(request)
            except _BreachError as breach:
                self.close()
                if tried == tries:
                    raise UndecodableError(breach.reason, breach.detail) from None
                continue
            except BaseException:
                self.close()  # interrupted: the child is still at work
                raise
            if is_result:
                return value
            raise value
        raise AssertionError("unreachable")


def _started(limits: Limits) -> _Child:
    """A child; a second try where the first was ended from outside while it started."""
    try:
        return _Child(limits)
    except ChildProcessError:
        return _Child(limits)


_of_thread = threading.local()


def child_of_thread(limits: Limits) -> Supervised:
    """The child process of this thread: made once, ended with the thread or the interpreter."""
    limits_then, child = getattr(_of_thread, "child", (None, None))
    if child is None or limits_then != limits:
        if child is not None:
            child.close()
        child = Supervised(limits)
        _of_thread.child = limits, child
    return child


class _Child:
    """One child process, its socket, its shared memory and its stderr."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cpu_before = 0.0
        self._stderr = b""
        ours, theirs = multiprocessing.Pipe()
        memory = _shared_memory()
        command = [sys.executable, "-P", "-m", "ingest.child"]
        arguments = [theirs.fileno(), memory, os.getpid(), limits.memory_bytes]
        try:
            process = subprocess.Popen(
                command + [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(), memory),
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": _search_path()},
            )
        except BaseException:
            ours.close()
            os.close(memory)
            raise
        finally:
            theirs.close()
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        self._process, self._connection, self._memory = process, ours, memory
        self.end = weakref.finalize(self, _end, process, ours, memory, os.getpid())
        """Kill the process and close what belongs to it: called once, at the latest when the
        interpreter ends."""
        self._usage = psutil.Process(process.pid)
        self._start()

    def _start(self) -> None:
        try:
            kind, _, _, self._cpu_before = pickle.loads(self._receive(START_S, float("inf")))
            assert kind == READY
        except _BreachError as breach:
            self.end()
            raise OSError(errno.ECHILD, f"no decoding process starts: {breach.detail}") from None

    def is_alive(self) -> bool:
        return bool(self.end.alive) and self._process.poll() is None

    def ask(self, request: bytes) -> tuple[bool, Any]:
        """Have the child answer a call: (True, result) or (False, exception). Raises
        _BreachError."""
        self._stderr = b""
        try:
            self._connection.send_bytes(request)
        except OSError:
            raise self._died() from None
        answer = pickle.loads(self._receive(self._limits.wall_s, self._limits.cpu_s))
        kind, result, lengths, self._cpu_before = answer
        if kind == NO_MEMORY:
            raise _BreachError(
                Reason.DECODE_MEMORY, f"more than {self._limits.memory_bytes} bytes of memory"
            )
        value = pickle.loads(result, buffers=[self._array(*p) for p in _places(lengths)])
        if sum(lengths) > KEPT_MEMORY:
            os.ftruncate(self._memory, 0)
        if isinstance(value, Spooled):
            try:
                value.attach(recv_handle(self._connection))
            except (EOFError, OSError, RuntimeError):
                raise self._died() from None
        return kind == DONE, value

    def _array(self, position: int, length: int) -> np.ndarray:
        """Bytes of the shared memory, copied: the next call writes over them."""
        array = np.empty(length, np.uint8)
        done = 0
        while done < length:
            done += os.preadv(self._memory, [array.data[done:]], position + done)
        return array

    def _receive(self, wall_s: float, cpu_s: float) -> bytes:
        """The next message of the child, while it keeps to the limits."""
        deadline = time.monotonic() + wall_s
        assert self._process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(self._process.stderr, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select(LOOK_EVERY_S)]
                if self._process.stderr in ready and not self._drain():
                    selector.unregister(self._process.stderr)
                if self._connection in ready:
                    try:
                        return self._connection.recv_bytes()
                    except (EOFError, OSError):
                        raise self._died() from None
                if self._cpu_s() - self._cpu_before > cpu_s:
                    raise _BreachError(Reason.DECODE_TIMEOUT, f"more than {cpu_s:g} s of CPU time")
                if time.monotonic() > deadline:
                    raise self._stuck(wall_s)

    def _drain(self) -> bool:
        """Keep the end of what native code prints. False: no more will come."""
        assert self._process.stderr is not None
        data = os.read(self._process.stderr.fileno(), 1 << 16)
        self._stderr = (self._stderr + data)[-KEPT_STDERR:]
        return bool(data)

    def _cpu_s(self) -> float:
        try:
            times = self._usage.cpu_times()
        except psutil.Error:
            return 0.0  # it has just died, which the socket will say
        return float(times.user + times.system)

    def _stuck(self, wall_s: float) -> Exception:
        """What a call is that neither works nor ends: waiting for a disk is no fault of the
        file's."""
        try:
            is_waiting = self._usage.status() == psutil.STATUS_DISK_SLEEP
        except psutil.Error:
            is_waiting = False
        if is_waiting:
            return OSError(errno.ETIMEDOUT, f"the disk does not answer for {wall_s:g} s")
        return _BreachError(Reason.DECODE_TIMEOUT, f"nothing happens for {wall_s:g} s")

    def _died(self) -> _BreachError:
        """What the end of the child means. SIGKILL comes from a system that is out of memory."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return _BreachError(Reason.DECODE_CRASH, "the process closed its socket")
        while self._stderr_has_more():
            pass
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        lines = self._stderr.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        reason = Reason.DECODE_MEMORY if code == -signal.SIGKILL else Reason.DECODE_CRASH
        return _BreachError(reason, f"{how}: {last}"[:200] if last else how)

    def _stderr_has_more(self) -> bool:
        try:
            return self._drain()
        except BlockingIOError:
            return False


def _search_path() -> str:
    """Where the child finds the modules of the functions that it is to call."""
    return os.pathsep.join(folder for folder in sys.path if folder)


def _places(lengths: list[int]) -> list[tuple[int, int]]:
    """(position, length) of buffers that lie one after the other."""
    places, position = [], 0
    for length in lengths:
        places.append((position, length))
        position += length
    return places


def _shared_memory() -> int:
    """A file descriptor of memory that a child can open too."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dicom2clip")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _end(
    process: subprocess.Popen[bytes],
    connection: multiprocessing.connection.Connection[bytes, bytes],
    memory: int,
    owner: int,
) -> None:
    """Kill the child and close what belongs to it. A fork of the owner only closes."""
    connection.close()
    os.close(memory)
    if os.getpid() == owner:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is in the kernel: ends after it
            process.wait(timeout=10)
    if process.stderr is not None:
        process.stderr.close()
