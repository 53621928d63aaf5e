"""Ingestions of real processes, to be disturbed: the command, a scheduler, workers with nannies.

In: a folder with scans and reports. Out: processes on loopback, each of which knows to whom it
belongs by a variable of its environment, as its children do; what of them is still there; what lies
in a dataset. A full disk is a file system of its own where it can be mounted, else a limit that is
put on the files that the processes write.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from job_runs import write_key, write_reports, write_study

from shards.commit import PARTS
from shards.writer import committed

ROOT = Path(__file__).parents[2]
STUDIES = 12
SHAPE = (20, 128, 128)
MARK = "DICOM2CLIP_FAULT_TEST"
"""Variable of the environment of all processes of a test: children inherit it."""
COMMAND = "import dicom2clip; dicom2clip.main()"
IN_PIECES = (
    "from ingest import crawl, long_crawl, partition; "
    "crawl.FILES_PER_TASK, long_crawl.FILES, partition.ROWS = 32, 128, 100; "
)
"""Several chunks, tasks and parts, as a large export has; of so few images there would be one."""
DASK = "import sys; from distributed.cli import {0}; sys.exit({0}.main())"
BUSY = "while True: pass"
QUICK = {
    "DASK_DISTRIBUTED__ADMIN__LOG_FORMAT": "%(message)s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


def write_source(folder: Path) -> None:
    """The studies and their reports that all runs are made from."""
    for number in range(STUDIES):
        write_study(folder / "scans", number, shape=SHAPE)
    write_reports(folder / "reports.csv", range(STUDIES))


@dataclass
class Home:
    """Where one dataset is made: its configuration, run folder, and the runs of the command."""

    folder: Path
    source: Path
    scheduler: str = ""
    workers: int = 1
    in_pieces: bool = True
    runs: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_key(self.folder / "run", "44" * 32)
        speed = {"scheduler": self.scheduler} if self.scheduler else {"workers": self.workers}
        pipeline = {
            "description": "fault tests",
            "dataset": str(self.dataset),
            "run": str(self.folder / "run"),
            "ingest": {
                "source": str(self.source / "scans"),
                "reports": str(self.source / "reports.csv"),
                "grid": {"depth": 12, "resize": 64, "size": 64},
                "speed": speed,
            },
            "shards": {"studies_per_shard": 2},
        }
        (self.folder / "pipelines.yaml").write_text(yaml.safe_dump({"faults": pipeline}))

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    def start(self) -> Run:
        """Start `dicom2clip run faults --stage ingest`."""
        self.runs += 1
        mark = f"{self.folder}/{self.runs}"
        said = self.source.parent / f"{self.folder.name}-{self.runs}.txt"
        program = (IN_PIECES if self.in_pieces else "") + COMMAND
        arguments = ["run", "faults", "--stage", "ingest", "-c", self.folder / "pipelines.yaml"]
        with said.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", program, *map(str, arguments)],
                env=_environment(mark),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return Run(process, said, mark)

    def fingerprints(self) -> dict[str, str]:
        """sha256 of every file of the dataset; of a commit record, of all but its seconds and the
        checksum over them, which are what may differ between equal runs."""
        return {file.name: _sha256(file) for file in sorted(self.dataset.iterdir())}

    def committed_files(self) -> dict[str, tuple[int, int]]:
        """Inode and time of every file of every committed shard."""
        found = {}
        for name in (part(shard) for shard in committed(self.dataset) for part in PARTS):
            with contextlib.suppress(FileNotFoundError):  # no tar: no study gave a sample
                status = (self.dataset / name).stat()
                found[name] = (status.st_ino, status.st_mtime_ns)
        return found


@dataclass
class Run:
    """One run of the command."""

    process: subprocess.Popen[bytes]
    output: Path
    mark: str
    started: float = field(default_factory=time.monotonic)

    def code(self, timeout_s: float) -> int:
        """Its exit code. An AssertionError where it does not end in time."""
        try:
            return self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"hangs for {timeout_s:.0f} s; it said:\n{self.said()}") from None

    def said(self) -> str:
        return self.output.read_text(errors="replace")


class Site:
    """A scheduler and workers with nannies, and who starts them again."""

    def __init__(self, folder: Path, programs: int = 2, workers: int = 2) -> None:
        self._folder, self._workers = folder, workers
        self._port = free_port()
        self.mark = f"{folder}/site"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.nannies: list[subprocess.Popen[bytes]] = []
        """Programs `dask worker`: each is the nanny of its workers."""
        self._programs = programs

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start what is not there, and wait until the scheduler answers."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            for nanny in self.nannies:
                _end(nanny)
            arguments = ["--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"]
            self.scheduler = self._process("dask_scheduler", *arguments)
            for _ in range(600):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", self._port)),
                ):
                    break
                time.sleep(0.1)
        self.nannies = [nanny for nanny in self.nannies if nanny.poll() is None]
        while len(self.nannies) < self._programs:
            counts = ["--nworkers", str(self._workers), "--nthreads", "1"]
            limit = ["--memory-limit", "2GB", "--local-directory", str(self._folder)]
            early = ["--preload", "ingest.job"]  # else the first task would wait for its imports
            self.nannies.append(
                self._process(
                    "dask_worker", self.address, "--no-dashboard", *counts, *limit, *early
                )
            )

    def worker_processes(self) -> list[psutil.Process]:
        """Those of the workers themselves."""
        found = []
        for nanny in self.nannies:
            with contextlib.suppress(psutil.Error):
                found += worker_processes(nanny.pid)
        return found

    def stop(self) -> None:
        for process in (*self.nannies, self.scheduler):
            if process is not None:
                process.terminate()
        for process in (*self.nannies, self.scheduler):
            if process is not None:
                _end(process)

    def _process(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-c", DASK.format(program), *arguments],
                env=_environment(self.mark),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


def worker_processes(nanny: int) -> list[psutil.Process]:
    """Workers among the children of a process: dask spawns them."""
    return [
        child
        for child in psutil.Process(nanny).children()
        if any("spawn_main" in word for word in _command(child))
    ]


def left_of(mark: str, wait_s: float = 15.0) -> list[str]:
    """What the processes of a mark run that are still there after some seconds."""
    deadline = time.monotonic() + wait_s
    while (found := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [" ".join(_command(process)) for process in found]


def marked(mark: str) -> list[psutil.Process]:
    """Processes that are there, started under a mark or children of such."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_there = process.status() != psutil.STATUS_ZOMBIE
            if is_there and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but count against others."""
    with contextlib.ExitStack() as ending:
        for _ in range(processes):
            process = subprocess.Popen([sys.executable, "-S", "-c", BUSY])
            ending.callback(_end, process)
        yield


class SmallDisk:
    """A file system of some megabytes, which is filled and emptied; where none can be mounted, no
    process may write a file of more than some bytes."""

    SIZE = 16 * 2**20
    LEFT = 20_000
    """Bytes that can still be written when it is full."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        options = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", str(folder)]
        self.is_mounted = (
            shutil.which("mount") is not None
            and subprocess.run(options, capture_output=True).returncode == 0
        )

    def fill(self, processes: Callable[[], list[psutil.Process]]) -> None:
        """From now on there is no room."""
        if self.is_mounted:
            free = shutil.disk_usage(self.folder).free
            (self.folder / "filler").write_bytes(bytes(max(0, free - self.LEFT)))
        else:
            self._limit(processes, self.LEFT)

    def empty(self, processes: Callable[[], list[psutil.Process]]) -> None:
        """There is room again."""
        if self.is_mounted:
            (self.folder / "filler").unlink(missing_ok=True)
        else:
            self._limit(processes, resource.RLIM_INFINITY)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def _limit(self, processes: Callable[[], list[psutil.Process]], size: int) -> None:
        for process in processes():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))


def free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


def _environment(mark: str) -> dict[str, str]:
    return {**os.environ, **QUICK, "PYTHONPATH": str(ROOT), MARK: mark}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end; after some seconds, kill it."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _sha256(file: Path) -> str:
    data = file.read_bytes()
    if file.name.endswith("_stats.json"):
        record = {k: v for k, v in json.loads(data).items() if k not in ("seconds", "sha256")}
        data = json.dumps(record, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()
