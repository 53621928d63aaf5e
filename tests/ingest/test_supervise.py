"""Whatever a call does to its process, the caller gets a result, an exception, or a reason."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import victims
from dicom_files import make_series, save

from ingest import convert, guarded
from ingest.group import group_study
from ingest.header import read_header
from ingest.plan import StudyTask
from ingest.supervise import KEPT_MEMORY, Limits, Supervised, _Child, child_of_thread
from ingest.undecodable import UndecodableError
from study.ingest_sections import Grid, Intensity, Rules, Select
from study.records import Reason, Study

LIMITS = Limits(cpu_s=10, memory_bytes=1 << 30, wall_s=120)
BRIEF = Limits(cpu_s=0.5, memory_bytes=1 << 30, wall_s=120)


@pytest.fixture(scope="module")
def shared() -> Iterator[Supervised]:
    with Supervised(LIMITS) as child:
        yield child


def open_files() -> int:
    return psutil.Process().num_fds()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_results_come_back_as_they_are(shared: Supervised) -> None:
    for value in (None, 5, "text", [1, {"a": (2, 3)}], b"\0" * 100_000):
        assert shared.call(victims.echo, value) == value


@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "u1", ">i2"])
def test_arrays_come_back_whole_and_writable(shared: Supervised, kind: str) -> None:
    found = shared.call(victims.array, (3, 40, 50), kind)
    expected = victims.array((3, 40, 50), kind)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    found[:] = 0


def test_an_array_outlives_the_next_call(shared: Supervised) -> None:
    first = shared.call(victims.array, (100,), "i4")
    shared.call(victims.echo, np.zeros(100, np.int32))
    assert np.array_equal(first, np.arange(100))


def test_several_empty_and_large_arrays(shared: Supervised) -> None:
    large = KEPT_MEMORY // 4 + 1
    value = [np.zeros(0), np.arange(5), np.ones((2, 0)), np.full(large, 7, np.int32)]
    found = shared.call(victims.echo, value)
    assert all(np.array_equal(a, b) for a, b in zip(found, value, strict=True))


def test_one_process_serves_all_calls(shared: Supervised) -> None:
    first = shared.call(victims.process_id)
    assert first != os.getpid()
    assert shared.call(victims.process_id) == first


def test_exceptions_are_themselves(shared: Supervised) -> None:
    before = shared.call(victims.process_id)
    with pytest.raises(OSError, match="stale") as disk:
        shared.call(victims.no_such_file, "/x")
    assert (disk.value.errno, disk.value.filename) == (errno.ESTALE, "/x")
    with pytest.raises(UndecodableError) as broken:
        shared.call(victims.undecodable)
    assert (broken.value.reason, broken.value.detail) == (Reason.UNDECODABLE_PIXELS, "frame 3")
    with pytest.raises(RuntimeError, match="LocalError: 1 and 2"):
        shared.call(victims.odd_error)
    with pytest.raises(Exception, match="pickle"):
        shared.call(victims.unpicklable)
    assert shared.call(victims.process_id) == before


@pytest.mark.parametrize(
    ("breach", "reason", "detail"),
    [
        (victims.segfault, Reason.DECODE_CRASH, "SIGSEGV"),
        (victims.abort_with_words, Reason.DECODE_CRASH, "SIGABRT: fatal: the codestream bites"),
        (victims.exits, Reason.DECODE_CRASH, "exit status 3"),
        (victims.killed, Reason.DECODE_MEMORY, "SIGKILL"),
        (victims.allocates, Reason.DECODE_MEMORY, "1073741824 bytes"),
    ],
)
def test_a_breach_is_a_reason_and_the_next_call_works(
    shared: Supervised, breach: Callable[[], None], reason: Reason, detail: str
) -> None:
    before, files = shared.call(victims.process_id), open_files()
    with pytest.raises(UndecodableError) as error:
        shared.call(breach)
    assert error.value.reason is reason
    assert detail in error.value.detail
    assert shared.call(victims.process_id) != before
    assert not psutil.pid_exists(before)
    assert open_files() == files


def test_a_call_that_loops_for_ever_ends() -> None:
    with Supervised(BRIEF) as child:
        with pytest.raises(UndecodableError, match=r"more than 0\.5 s of CPU time") as error:
            child.call(victims.loops)
        assert error.value.reason is Reason.DECODE_TIMEOUT
        assert child.call(victims.echo, 1) == 1


def test_a_call_that_sleeps_for_ever_ends() -> None:
    with Supervised(Limits(cpu_s=100, memory_bytes=1 << 30, wall_s=1)) as child:
        with pytest.raises(UndecodableError) as error:
            child.call(victims.sleeps)
        assert error.value.reason is Reason.DECODE_TIMEOUT
        assert child.call(victims.echo, 1) == 1


def test_one_breach_alone_is_forgiven(shared: Supervised, tmp_path: Path) -> None:
    assert shared.call(victims.crashes_once, str(tmp_path / "mark")) == "second try"


def test_cpu_time_is_that_of_one_call() -> None:
    with Supervised(BRIEF) as child:
        before = child.call(victims.process_id)
        for _ in range(3):
            assert child.call(victims.works, 0.25) == "done"
        assert child.call(victims.process_id) == before


def test_noise_of_decoders_goes_nowhere(
    shared: Supervised, capfd: pytest.CaptureFixture[str]
) -> None:
    assert shared.call(victims.chatters, 50) == 50
    assert capfd.readouterr() == ("", "")


def test_a_child_that_died_between_calls_is_no_breach(shared: Supervised) -> None:
    psutil.Process(shared.call(victims.process_id)).kill()
    time.sleep(0.05)
    assert shared.call(victims.echo, 1) == 1


def test_nothing_is_left_open() -> None:
    files, before = open_files(), children()
    for _ in range(2):
        with Supervised(LIMITS) as child:
            child.call(victims.echo, np.zeros(10))
    child = Supervised(LIMITS)
    child.call(victims.echo, 1)
    del child
    assert children() == before
    assert open_files() == files


def test_threads_have_children_of_their_own() -> None:
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        with Supervised(LIMITS) as child:
            found[number] = [child.call(victims.echo, number * 100 + n) for n in range(20)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [n * 100 + m for m in range(20)] for n in range(2)}


ORPHAN = """
import sys
sys.path.insert(0, sys.argv[1])
import victims
from ingest.supervise import Limits, Supervised
child = Supervised(Limits(1000, 1 << 30))
print(child.call(victims.process_id), flush=True)
child.call(victims.{what})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("what", ["loops", "sleeps"])
def test_a_busy_child_dies_with_its_parent(what: str) -> None:
    command = [sys.executable, "-c", ORPHAN.format(what=what), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.1)
        assert psutil.pid_exists(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_limit_that_lets_nothing_start_says_so() -> None:
    with (
        Supervised(Limits(cpu_s=1, memory_bytes=1 << 20)) as child,
        pytest.raises(OSError, match="no decoding process starts") as error,
    ):
        child.call(victims.echo, 1)
    assert error.value.errno == errno.ECHILD


def test_a_child_that_is_killed_while_it_starts_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, faults = _Child._start, iter([True])

    def killed_once(child: _Child) -> None:
        if next(faults, False):
            child._process.kill()
        start(child)

    monkeypatch.setattr(_Child, "_start", killed_once)
    with Supervised(LIMITS) as child:
        assert child.call(victims.echo, 3) == 3


def test_many_calls_at_the_price_of_one(shared: Supervised) -> None:
    before = shared.call(victims.process_id)
    assert guarded.each(shared, victims.fatal_if_odd, [0, 2, 4], lambda n, r: -1) == [0, 20, 40]
    assert shared.call(victims.process_id) == before
    found = guarded.each(shared, victims.fatal_if_odd, [0, 1, 2], lambda n, why: why.reason)
    assert found == [0, Reason.DECODE_CRASH, 20]


def test_a_breach_among_many_is_tried_once_there_and_twice_alone(
    shared: Supervised, tmp_path: Path
) -> None:
    """Every try may cost all of a limit."""
    for count, tries in ((1, 2), (3, 3)):
        books = [str(tmp_path / f"{count}.{n}") for n in range(count)]
        found = guarded.each(shared, victims.noted_and_fatal, books, lambda book, why: why.reason)
        assert found == [Reason.DECODE_CRASH] * count
        assert len(Path(books[0]).read_bytes()) == tries


def test_a_thread_keeps_its_child() -> None:
    one = child_of_thread(LIMITS)
    assert child_of_thread(LIMITS) is one
    one.call(victims.echo, 1)
    other = child_of_thread(Limits(cpu_s=9, memory_bytes=1 << 30))
    assert other is not one
    other.close()


def test_a_poisonous_series_costs_one_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (5, 16, 16))
    for series in ("1.2.3.4.666", "1.2.3.4.777"):
        save(make_series(pixels, SeriesInstanceUID=series), tmp_path / series)
    instances = [row for path in sorted(tmp_path.rglob("*.dcm")) for row in read_header(str(path))]
    plans = group_study(instances, Select(), Rules()).plans
    assert len(plans) == 2
    task = StudyTask("1.2", "a" * 32, "b" * 32, "train", plans, ("c", "d"))
    monkeypatch.setattr(convert, "read_slices", victims.poisonous)
    study, [failure] = convert.convert_study(task, Grid(depth=5, resize=16, size=16), Intensity())
    assert failure.reason is Reason.DECODE_CRASH
    assert isinstance(study, Study)
    assert [scan.series_index for scan in study.scans] == [1 - failure.scan]
