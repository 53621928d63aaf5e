"""Fixtures of the tests of ingestion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import LocalCluster
from llm_server import LlmServer, serving

from ingest import crawl as crawling
from ingest.header import read_ordinary
from ingest.place import Place
from study.records import Instance


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A cluster within this process: starts at once, and shows that joining a running one works."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def server() -> Iterator[LlmServer]:
    """A language model on loopback."""
    with serving() as running:
        yield running


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of all headers that are read, and of all archives that are unpacked."""
    seen: list[str] = []
    unpack = crawling.archive.unpack

    def read(place: Place) -> list[Instance] | None:
        seen.append(os.path.basename(place.path))
        return read_ordinary(place)

    def unpacking(archive: tuple[str, str], *rest: Any, **more: Any) -> Any:
        seen.append(f"unpack {os.path.basename(archive[0])}")
        return unpack(archive, *rest, **more)

    monkeypatch.setattr("ingest.crawl.read_ordinary", read)
    monkeypatch.setattr("ingest.archive.unpack", unpacking)
    return seen
