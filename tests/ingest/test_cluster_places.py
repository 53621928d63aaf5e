"""What does not need a cluster: sizes, settings, certificates, warnings, reports."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest import machine, performance, watch
from ingest.cluster import Workers
from ingest.cluster_local import _chosen, room
from ingest.cluster_security import is_local, security_of, warning_of
from study.cluster_sections import Cluster, Tls
from study.errors import UserError
from study.ingest_sections import IngestSpeed


@given(st.integers(0, 100), st.integers(1, 10**10), st.integers(1, 100), st.integers(100, 10**12))
def test_workers_never_have_more_memory_than_there_is(
    asked: int, limit: int, cpus: int, memory: int
) -> None:
    fit = machine.fit(asked, limit, cpus, memory)
    assert 1 <= fit.workers <= (asked or cpus)
    assert fit.workers * fit.memory_bytes <= memory
    assert fit.memory_bytes == min(limit, memory)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def test_limits_of_cgroups_count_wherever_they_are_set(tmp_path: Path) -> None:
    root, membership = tmp_path / "fs", tmp_path / "membership"
    write(membership, "0::/slurm/job_7/step_0")
    assert machine.memory_bytes(root, membership) > 10**8
    write(root / "slurm" / "job_7" / "memory.max", "3000000000")
    write(root / "slurm" / "job_7" / "step_0" / "memory.max", "max")
    write(root / "slurm" / "cpu.max", "150000 100000")
    write(root / "slurm" / "job_7" / "cpu.max", "max 100000")
    assert machine.memory_bytes(root, membership) == min(3 * 10**9, machine.memory_bytes())
    assert machine.cpus(root, membership) == min(2, machine.cpus())


def test_limits_of_version_1(tmp_path: Path) -> None:
    root, membership = tmp_path / "fs", tmp_path / "membership"
    write(membership, "4:memory:/job\n3:cpu,cpuacct:/job\n0::/")
    write(root / "memory" / "job" / "memory.limit_in_bytes", "2000000000")
    write(root / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us", "100000")
    write(root / "cpu,cpuacct" / "job" / "cpu.cfs_period_us", "100000")
    assert machine.memory_bytes(root, membership) == 2 * 10**9
    assert machine.cpus(root, membership) == 1


def test_what_was_chosen_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpus", lambda: 8)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 7 * 10**9)
    speed = IngestSpeed()
    assert _chosen(speed, room(speed)) == (
        "workers: 3 of 2 GB each (this machine: 8 CPUs, 7 GB); there is no memory for 8 of "
        "ingest.speed.memory_limit"
    )
    assert Workers(speed).count() == 3
    assert Workers(IngestSpeed(workers=2)).count() == 2
    jobs = Cluster(system="slurm", jobs=5, workers_per_job=6)
    assert Workers(IngestSpeed(cluster=jobs)).count() == 30
    large = IngestSpeed(memory_limit="20GB", workers=1)
    assert _chosen(large, room(large)).endswith("memory_limit is 20GB, which is not there")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("tcp://[::1]:8786", True),
        ("tcp://localhost:8786", True),
        ("inproc://10.1.2.3/7/1", True),
        ("tcp://10.1.2.3:8786", False),
        ("tcp://login.site:8786", False),
    ],
)
def test_patient_data_that_would_cross_hosts_in_the_clear(address: str, local: bool) -> None:
    assert is_local(address) is local
    assert (warning_of(address) == "") is local
    assert warning_of(address.replace("tcp", "tls")) == ""
    assert local or warning_of(address).startswith("WARNING: patient data")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheduler": "tcp://a:1", "cluster": {"system": "pbs"}}, "either scheduler"),
        ({"scheduler": "tls://a:1"}, "needs tls"),
        ({"scheduler": "tls://a:1", "tls": {"temporary": True}}, "needs tls files"),
        (
            {"scheduler": "tcp://a:1", "tls": {"ca": "a", "cert": "b", "key": "c"}},
            "begins with tls://",
        ),
        ({"tls": {"ca": "a"}}, "three files"),
        ({"tls": {"ca": "a", "cert": "b", "key": "c", "temporary": True}}, "either files"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        IngestSpeed(**settings)


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no certificate")
    file = str(tmp_path / "a")
    assert security_of(Tls()) is None
    with pytest.raises(UserError, match=r"tls\.key: there is no readable file"):
        security_of(Tls(ca=file, cert=file, key=f"{file}b"))
    with pytest.raises(UserError, match=r"tls\.ca: .* is no certificate"):
        security_of(Tls(ca=file, cert=file, key=file))


def test_a_job_without_workers_says_that_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.01)
    monkeypatch.setattr(watch, "NONE_LEFT_S", 0.05)
    workers: dict[str, Any] = {"tcp://a:1": {"metrics": {"memory": 7}}}
    client = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": dict(workers)})
    said: list[str] = []
    watching = watch.Watch(client, said.append)
    try:
        assert watching.memory == {"tcp://a:1": 7}
        lost = workers.pop("tcp://a:1")
        wait_for(lambda: len(said) == 1)
        workers["tcp://b:1"] = lost
        wait_for(lambda: len(said) == 2)
    finally:
        watching.stop()
    assert said[0].startswith("no worker is left; waiting")
    assert said[1] == "there are workers again"
    assert watching.peak_bytes == 7


def wait_for(condition: Any) -> None:
    import time

    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_report_of_the_run(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = IngestSpeed(scheduler=scheduler)
    with Workers(speed, tmp_path, say=lambda text: None) as workers:
        assert list(workers.ordered(abs, [-1])) == [1]
    assert not (tmp_path / performance.FILE).exists()  # not worth it
    monkeypatch.setattr(performance, "WORTH_S", 0.0)
    with Workers(speed, tmp_path, say=lambda text: None) as workers:
        assert list(workers.ordered(abs, [-1])) == [1]
    page = tmp_path / performance.FILE
    assert page.stat().st_mode & 0o777 == 0o600
    assert "<html" in page.read_text()


def test_a_report_that_cannot_be_made_costs_a_word(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "WORTH_S", 0.0)
    file = tmp_path / "file"
    file.touch()
    with Workers(IngestSpeed(scheduler=scheduler), file, lambda text: None) as workers:
        assert list(workers.ordered(abs, [-1])) == [1]
    assert workers.notes[-1].startswith("no performance.html: ")
    monkeypatch.setattr(performance, "has_bokeh", lambda: False)
    with Workers(IngestSpeed(scheduler=scheduler), tmp_path, lambda text: None) as workers:
        assert list(workers.ordered(abs, [-1])) == [1]
    assert "it needs bokeh" in workers.notes[-1]
