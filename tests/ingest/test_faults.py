"""An ingestion of real processes, of which some are killed, or whose disk fills, at any moment.

What a site would start again is started again, and the same command is run until it ends: the
dataset is that of an undisturbed run with one worker, byte for byte, and shards that were committed
are not touched. Seeds name the fault and the moment, which is uniform over the time that an
undisturbed run takes. Of a cluster of our own the nannies live in the client: killing it is killing
them.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fault_runs import (
    Home,
    Run,
    Site,
    SmallDisk,
    busy,
    left_of,
    marked,
    worker_processes,
    write_source,
)

from study.errors import EXIT_DONE, EXIT_USER

FAULTS = ("worker", "scheduler", "client", "nanny", "disk", "own worker", "own client", "own disk")
IN_CI = (0, 233, 74)
"""A worker, the scheduler and the client, late enough for work to be under way."""
MORE = 25 * int(os.environ.get("DICOM2CLIP_SOAK", "0")) // 20
SEEDS = [*IN_CI, *(pytest.param(1 + n, marks=pytest.mark.slow) for n in range(MORE))]
LOADED = 5
"""Every so-manieth seed runs with four times as many busy processes as there are CPUs."""
SLOWER = 2.5
"""Times that such a run takes, about."""
BOUND_S = 120.0
"""For a run on a loaded machine of two cores, or for a client to see that its scheduler is gone."""


@dataclass
class Undisturbed:
    """What is made where nothing happens, and the seconds that it takes."""

    source: Path
    fingerprints: dict[str, str]
    seconds: float


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def undisturbed(base: Path, site: Site) -> Undisturbed:
    """Made while the site starts, so that it is there when it is timed."""
    write_source(base / "source")
    home = Home(base / "one", base / "source", workers=1, in_pieces=False)
    run = home.start()
    assert run.code(BOUND_S) == EXIT_DONE, run.said()
    return Undisturbed(base / "source", home.fingerprints(), time.monotonic() - run.started)


@pytest.fixture(scope="module")
def site(base: Path) -> Iterator[Site]:
    """Two programs with two workers each."""
    site = Site(base)
    try:
        site.start()
        yield site
    finally:
        site.stop()
    assert left_of(site.mark) == []


@pytest.fixture(scope="module")
def seconds(undisturbed: Undisturbed, site: Site) -> float:
    """That an undisturbed run takes on the site, whose four workers make the bytes of one."""
    home = Home(undisturbed.source.parent / "four", undisturbed.source, scheduler=site.address)
    run = home.start()
    assert run.code(BOUND_S) == EXIT_DONE, run.said()
    assert home.fingerprints() == undisturbed.fingerprints
    assert left_of(run.mark) == []
    return time.monotonic() - run.started


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_the_same_command_ends_with_the_undisturbed_bytes(
    undisturbed: Undisturbed, site: Site, seconds: float, seed: int
) -> None:
    rng = random.Random(seed)
    fault = FAULTS[seed % len(FAULTS)]
    is_loaded = seed not in IN_CI and seed % LOADED == 0
    slower = SLOWER if is_loaded else 1.0
    whole = undisturbed.seconds if fault.startswith("own") else seconds
    moments = [rng.uniform(0, slower * whole) for _ in range(1 if seed in IN_CI else 1 + seed % 2)]
    folder = undisturbed.source.parent / f"seed{seed}"
    with contextlib.ExitStack() as ending:
        ending.enter_context(noted(f"seed {seed}: {fault}, {moments} s, loaded: {is_loaded}"))
        site.start()
        disk = None
        if fault.endswith("disk"):
            disk = SmallDisk(folder)
            ending.callback(disk.close)
        own = fault.startswith("own")
        home = Home(
            folder / f"home{seed}",
            undisturbed.source,
            scheduler="" if own else site.address,
            workers=1 + seed % 4,
        )
        ending.enter_context(busy(4 * (os.cpu_count() or 1) if is_loaded else 0))
        kept: dict[str, tuple[int, int]] = {}
        for moment in moments:
            code = disturbed(home, site, fault, moment, rng, disk, slower * BOUND_S)
            kept.update(home.committed_files())
            print(f"{fault} after {moment:.2f} s: code {code}, {len(kept)} files committed")
            site.start()
            if code == EXIT_DONE:
                break
        else:
            run = home.start()
            assert run.code(slower * BOUND_S) == EXIT_DONE, run.said()
            assert left_of(run.mark) == []
        assert home.fingerprints() == undisturbed.fingerprints
        now = home.committed_files()
        assert {name: now.get(name) for name in kept} == kept


def disturbed(
    home: Home,
    site: Site,
    fault: str,
    moment: float,
    rng: random.Random,
    disk: SmallDisk | None,
    bound_s: float,
) -> int:
    """Run the command until a fault at a moment, and what a site would do then; the exit code."""
    run = home.start()
    with contextlib.suppress(AssertionError):  # it is not meant to have ended
        run.code(moment)

    def writers() -> list[psutil.Process]:
        return [*marked(run.mark), *marked(site.mark)]

    gone = strike(run, site, fault, rng)
    if disk:
        disk.fill(writers)
    if fault == "nanny":
        site.start()
    code = run.code(bound_s)
    if disk:
        disk.empty(writers)
    said = run.said()
    assert "Traceback" not in said, said
    if fault.endswith("client"):
        assert code in (-signal.SIGKILL, EXIT_DONE), said
    elif fault in ("scheduler", "disk", "own disk"):
        assert code in (EXIT_USER, EXIT_DONE), said
    else:  # the client goes on
        assert code == EXIT_DONE, said
    assert left_of(run.mark) == []
    _, alive = psutil.wait_procs(gone, timeout=15)
    assert alive == []
    return code


def strike(run: Run, site: Site, fault: str, rng: random.Random) -> list[psutil.Process]:
    """kill -9. Returns the processes that have to go with the one that is killed."""
    victims: list[int] = []
    if fault.endswith("client"):
        victims = [run.process.pid]
    elif fault == "scheduler":
        assert site.scheduler is not None
        victims = [site.scheduler.pid]
    elif fault == "nanny":
        victims = [n.pid for n in rng.sample(site.nannies, rng.choice((1, 2)))]
    elif fault.endswith("worker"):
        while run.process.poll() is None:
            there = worker_processes(run.process.pid) if "own" in fault else site.worker_processes()
            if there:
                victims = [rng.choice(there).pid]
                break
            time.sleep(0.02)
    gone: list[psutil.Process] = []
    for victim in victims:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            gone += psutil.Process(victim).children(recursive=True)
            os.kill(victim, signal.SIGKILL)
    for process in (run.process, site.scheduler, *site.nannies):
        if process is not None and process.pid in victims:
            process.wait()  # else it would look as if it were there
    return gone


@contextlib.contextmanager
def noted(note: str) -> Iterator[None]:
    """Adds the seed and what follows from it to an error."""
    try:
        yield
    except BaseException as error:
        error.add_note(note)
        raise
