"""A cluster that runs already, of real processes: joined, looked over, lost, and left as it was."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cluster_tasks
import distributed
import pytest
from cluster_tasks import process

from ingest import cluster_joined
from ingest.cluster import Workers
from ingest.worker_setup import differences, versions
from study.cluster_sections import Tls
from study.errors import UserError
from study.ingest_sections import IngestSpeed


def free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


@contextlib.contextmanager
def scheduler(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """host:port of a scheduler, and its process."""
    port = free_port()
    arguments = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard", *options)
    with process("dask_scheduler", *arguments) as running:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            threading.Event().wait(0.1)
        yield f"127.0.0.1:{port}", running


def worker(
    address: str, *options: str, path: str = ""
) -> contextlib.AbstractContextManager[object]:
    return process("dask_worker", address, "--no-dashboard", "--no-nanny", *options, path=path)


def test_a_running_cluster_is_used_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_joined, "WAIT_S", 0.2)
    said: list[str] = []
    with scheduler() as (place, running), contextlib.ExitStack() as late:
        address = f"tcp://{place}"

        def say(text: str) -> None:
            said.append(text)
            if text.startswith("waiting"):  # there is no worker yet: now there will be one
                late.enter_context(worker(address, "--nthreads", "2"))

        with Workers(IngestSpeed(scheduler=address), say=say) as workers:
            assert list(workers.ordered(cluster_tasks.double, [1, 2, 3])) == [2, 4, 6]
            [threads] = workers.ordered(cluster_tasks.environment, ["OMP_NUM_THREADS"])
            [bytes_taken] = workers.memory().values()
        assert threads == "1"
        assert 10**7 < bytes_taken <= workers.peak_bytes
        assert said == workers.notes
        assert said[0].startswith(f"waiting for workers at {address}; start some with: dask worker")
        assert "1 of 1 workers have more than one thread" in said[1]
        with distributed.Client(address) as client:
            assert len(client.scheduler_info()["workers"]) == 1
            assert client.run(cluster_tasks.pausing) == dict.fromkeys(client.nthreads(), (0.8, []))
        with Workers(IngestSpeed(scheduler=address), say=said.append) as workers:
            results = workers.unordered(cluster_tasks.slow_double, range(1000))
            next(results)
            running.kill()
            with pytest.raises(UserError, match="connection to the scheduler is lost"):
                list(results)


def test_a_worker_that_retires_at_its_task_counts_against_no_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one does before the walltime of its job ends."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with (
        scheduler() as (place, _),
        worker(f"tcp://{place}", "--lifetime", "5s") as retiring,
        worker(f"tcp://{place}"),
        Workers(IngestSpeed(scheduler=f"tcp://{place}"), say=lambda text: None) as workers,
    ):
        results = workers.unordered(
            cluster_tasks.until_retired, [retiring.pid] * 6, after_death=cluster_tasks.blamed
        )
        assert list(results) == [True] * 6
        assert retiring.wait(timeout=60) == 0


def test_a_scheduler_that_is_lost_while_it_is_joined_is_the_users_error() -> None:
    """The client waits for workers and asks again and again."""
    with scheduler() as (place, running):

        def kill(text: str) -> None:
            if text.startswith("waiting for workers"):
                running.kill()
                running.wait()

        with (
            Workers(IngestSpeed(scheduler=f"tcp://{place}"), say=kill) as workers,
            pytest.raises(
                UserError, match=r"connection to tcp://.* is lost .*run the same command"
            ),
        ):
            list(workers.ordered(cluster_tasks.double, [1]))


def test_other_versions_are_refused(tmp_path: Path) -> None:
    """SimpleITK of another version resamples to other bytes."""
    folder = tmp_path / "SimpleITK-0.0.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: SimpleITK\nVersion: 0.0.1\n")
    with scheduler() as (place, _), worker(f"tcp://{place}", path=str(tmp_path)):
        speed = IngestSpeed(scheduler=f"tcp://{place}")
        with (
            Workers(speed, say=lambda text: None) as workers,
            pytest.raises(UserError, match=r"worker tcp://.*: SimpleITK 0\.0\.1 there, "),
        ):
            list(workers.ordered(cluster_tasks.double, [1]))


class Answers:
    """A client whose workers have these versions, or are gone."""

    scheduler = SimpleNamespace(address="tcp://s")

    def __init__(self, workers: dict[str, object]) -> None:
        self.workers = workers

    def run_on_scheduler(self, function: Callable[[], object]) -> object:
        return function()

    def run(self, function: Callable[[], object], on_error: str) -> dict[str, object]:
        return self.workers


def test_a_worker_that_goes_while_versions_are_asked_is_none() -> None:
    gone = distributed.comm.CommClosedError("reset by peer")
    cluster_joined.check(Answers({"tcp://a": gone, "tcp://b": versions()}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"worker tcp://b cannot run dicom2clip \(ImportError"):
        cluster_joined.check(Answers({"tcp://a": gone, "tcp://b": ImportError()}))  # type: ignore[arg-type]


def test_versions_that_differ_are_named() -> None:
    assert differences(versions(), versions()) == ""
    theirs = {**versions(), "numpy": "1.0"}
    assert differences(theirs, versions()).startswith("numpy 1.0 there, ")
    assert "dask none there" in differences({}, versions())


def certificates(folder: Path, name: str) -> Tls:
    """An authority and a certificate that it has signed, made by openssl."""
    ca, cert, key = (folder / f"{name}.{part}.pem" for part in ("ca", "cert", "key"))
    ca_key, request = folder / f"{name}.ca.key", folder / f"{name}.csr"
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=site", "-keyout", ca_key, "-out", ca],
        [*new, "-subj", "/CN=user", "-keyout", key, "-out", request],
        ["openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key]
        + ["-CAcreateserial", "-days", "2", "-out", cert],
    ):
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return Tls(ca=str(ca), cert=str(cert), key=str(key))


def test_tls_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who holds a certificate of the same authority gets in."""
    tls, strangers = certificates(tmp_path, "ours"), certificates(tmp_path, "theirs")
    files = ("--tls-ca-file", tls.ca, "--tls-cert", tls.cert, "--tls-key", tls.key)
    with scheduler("--protocol", "tls", *files) as (place, _):
        address = f"tls://{place}"
        with (
            worker(address, "--nthreads", "1", *files),
            Workers(IngestSpeed(scheduler=address, tls=tls), say=lambda text: None) as workers,
        ):
            assert list(workers.ordered(cluster_tasks.double, [1])) == [2]
            [worker_address] = workers.memory()
            assert worker_address.startswith("tls://")
        monkeypatch.setattr(cluster_joined, "CONNECT", "1s")
        for speed in (
            IngestSpeed(scheduler=address, tls=strangers),
            IngestSpeed(scheduler=f"tcp://{place}"),
        ):
            with Workers(speed) as workers, pytest.raises(UserError, match="does not answer"):
                list(workers.ordered(cluster_tasks.double, [1]))


def test_workers_of_our_own_take_temporary_credentials() -> None:
    with Workers(IngestSpeed(workers=1, tls=Tls(temporary=True)), say=lambda text: None) as workers:
        assert list(workers.ordered(cluster_tasks.double, [4])) == [8]
        [address] = workers.memory()
    assert address.startswith("tls://127.0.0.1")
