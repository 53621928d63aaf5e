"""A cluster that runs already: joined, looked over, and left as it was.

In: the address of a scheduler. Out: a client of it, once there is a worker; or a UserError that
says what does not fit. Nothing of it is ours to close or to change.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from ingest.cluster_security import security_of, warning_of
from study.errors import UserError
from study.ingest_sections import IngestSpeed

if TYPE_CHECKING:
    from distributed import Client

CONNECT = "5s"
WAIT_S = 2.0
"""Between looks for workers."""


def join(speed: IngestSpeed, say: Callable[[str], None]) -> Client:
    """Join `ingest.speed.scheduler` and wait for its first worker.

    Raises UserError: it does not answer, or it or a worker has other versions than this client.
    """
    from distributed import Client
    from distributed.client import ClosedClientError

    address = speed.scheduler
    security = security_of(speed.tls)
    try:
        client = Client(address, timeout=CONNECT, security=security)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"ingest.speed.scheduler: {address} does not answer: {error}") from None
    try:
        if warning := warning_of(client.scheduler.address):
            say(warning)
        check(client)
        wait_for_workers(
            client,
            say,
            f"waiting for workers at {address}; start some with: dask worker {address} "
            "--nthreads 1 --nworkers N",
        )
        check(client)
        warn_of_threads(client, say)
    except (OSError, ClosedClientError, CancelledError) as error:
        client.close(timeout=CONNECT)
        raise UserError(
            f"ingest.speed.scheduler: the connection to {address} is lost "
            f"({type(error).__name__}: {error}); run the same command again when it is back"
        ) from None
    except BaseException:
        client.close(timeout=CONNECT)
        raise
    return client


def check(client: Client) -> None:
    """Raises UserError where the scheduler or a worker has other versions than this client."""
    from ingest.worker_setup import differences, versions

    ours = versions()
    answers: dict[str, Any] = {}
    try:
        answers[f"scheduler {client.scheduler.address}"] = client.run_on_scheduler(versions)
    except Exception as error:  # it has no ingest, or cannot read what this client sends
        answers[f"scheduler {client.scheduler.address}"] = error
    found = client.run(versions, on_error="return")
    answers.update(
        (f"worker {address}", answer)
        for address, answer in found.items()
        if not isinstance(answer, OSError)  # it is gone since; one that comes is looked at again
    )
    wrong = []
    for who, answer in answers.items():
        if isinstance(answer, BaseException):
            wrong.append(f"{who} cannot run dicom2clip ({type(answer).__name__}: {answer})")
        elif different := differences(answer, ours):
            wrong.append(f"{who}: {different}")
    if wrong:
        more = f" (and {len(wrong) - 5} others)" if len(wrong) > 5 else ""
        raise UserError(
            "ingest.speed.scheduler: client, scheduler and workers need the same versions, or they "
            "would make other bytes:\n  " + "\n  ".join(wrong[:5]) + more
        )


def wait_for_workers(
    client: Client,
    say: Callable[[str], None],
    text: str,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Return when there is a worker; say `text` once where there is none yet. `look` is called
    every few seconds, and may raise what ends the waiting."""
    said = False
    while not client.scheduler_info(n_workers=-1)["workers"]:
        look()
        if not said:
            say(text)
            said = True
        try:
            client.wait_for_workers(1, timeout=WAIT_S)
        except TimeoutError:
            continue


def warn_of_threads(client: Client, say: Callable[[str], None]) -> None:
    """Say where workers have several threads: decoders hold the interpreter's lock, and a crash
    costs the tasks of all threads."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    many = sum(worker["nthreads"] > 1 for worker in workers)
    if many:
        say(
            f"WARNING: {many} of {len(workers)} workers have more than one thread; memory limits "
            "and speed are for one: dask worker --nthreads 1 --nworkers N"
        )
