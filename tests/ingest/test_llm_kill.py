"""Runs killed with -9 pay nothing twice, and a million texts need no more memory than some.

How it is counted: the server counts by text what it was asked and what it answered. A text whose
answer is in the cache when the process is dead must never be asked again. An answer on its way at
that moment is lost to a process that is no more; of those there are at most as many as requests in
flight.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from llm_server import LlmServer, serving

from ingest import llm_prompt
from ingest.llm_cache import Cache, key_of
from ingest.llm_prompt import Question
from study.llm_sections import Llm

SOAK = int(os.environ.get("DICOM2CLIP_SOAK", "3"))
REPOSITORY = Path(__file__).resolve().parents[2]
IN_FLIGHT = 6
NUM_TEXTS = 120
CHILD = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from ingest import llm_prompt, llm_run
from study.llm_sections import Llm, LlmSpeed
url, folder, count, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "batch"
class Texts:
    def __iter__(self):
        return (f"Finding number {{n}}. No bleed." for n in range(count))
speed = LlmSpeed(concurrency={IN_FLIGHT}, batch=batch, batch_requests=40, batch_poll_s=0.05)
llm = Llm(model="m", base_url=url, speed=speed)
spent = llm_run.ask(Texts(), llm_prompt.load("findings"), llm, folder, scrubbed=False)
rss = next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1]
print(spent.answered, spent.cached, spent.unanswered, rss)
"""
TEXTS = [f"Finding number {n}. No bleed." for n in range(NUM_TEXTS)]


def start(server: LlmServer, folder: Path, count: int, route: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, f"{server.url}/v1", str(folder), str(count), route]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> list[int]:
    """Numbers that an undisturbed child prints: answered, cached, unanswered, most memory in kB."""
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return [int(word) for word in out.split()]


def in_cache(folder: Path) -> set[str]:
    prompt, llm = llm_prompt.load("findings"), Llm(model="m")
    with Cache(folder) as cache:
        keys = set(cache.keys())
    return {text for text in TEXTS if key_of(Question(prompt, text), llm) in keys}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SOAK))
def test_killed_live_runs_pay_nothing_twice(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    with serving() as server:
        server.latency_s = 0.01
        kills = 0
        paid: dict[str, int] = {}
        for _ in range(2):
            before = server.asked.total()
            wanted = draw.randint(1, (NUM_TEXTS - len(paid)) // 2)
            process = start(server, tmp_path, NUM_TEXTS, "live")
            while server.asked.total() < before + wanted:
                assert process.poll() is None, f"seed {seed}: ended by itself"
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.03))
            process.kill()
            process.wait()
            kills += 1
            time.sleep(0.1)  # the server sees that nobody is there any more
            kept = in_cache(tmp_path)
            lost = {text for text in server.written if text not in kept}
            assert len(lost) <= IN_FLIGHT * kills, f"seed {seed}: {len(lost)} answers lost"
            assert all(server.asked[text] == count for text, count in paid.items())
            paid = {text: server.asked[text] for text in kept}
        answered, cached, unanswered, _ = finish(start(server, tmp_path, NUM_TEXTS, "live"))
        assert (cached, answered, unanswered) == (len(paid), NUM_TEXTS - len(paid), 0)
        assert all(server.asked[text] == count for text, count in paid.items())
        assert server.asked.total() <= NUM_TEXTS + kills * IN_FLIGHT


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SOAK))
def test_killed_batch_runs_pay_nothing_twice(tmp_path: Path, seed: int) -> None:
    """Killed in the very step: the server kills the client before it answers. No batch pays a text
    twice. The one question that a run asks at once may be on its way just then."""
    draw = random.Random(seed)
    with serving() as server:
        process: subprocess.Popen[str] | None = None
        left = 0

        def count(step: str) -> None:
            nonlocal left
            left -= 1
            if left == 0 and process:
                process.send_signal(signal.SIGKILL)
                process.wait()

        server.on_step = count
        server.batch_fates.extend(draw.choices(["", "expired"], k=3))
        kills = 0
        for _ in range(3):
            left = draw.randint(1, 14)
            process = start(server, tmp_path, NUM_TEXTS, "batch")
            if process.wait(60) == 0:  # it ended before so many steps
                break
            kills += 1
        process = None
        finish(start(server, tmp_path, NUM_TEXTS, "batch"))
        assert set(server.written) == set(TEXTS), f"seed {seed}"
        assert max(server.batched.values()) == 1, f"seed {seed}"
        assert server.written.total() <= NUM_TEXTS + kills, f"seed {seed}"
        assert not server.files, f"seed {seed}"
        assert in_cache(tmp_path) == set(TEXTS)
        assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["answers.sqlite"]


@pytest.mark.slow
def test_memory_is_flat_at_a_rate_that_the_server_limits(tmp_path: Path) -> None:
    few, many = (300, 20_000) if "DICOM2CLIP_SOAK" in os.environ else (300, 1500)
    peaks = []
    for count in (few, many):
        with serving() as server:
            server.per_s = 250
            answered, *_, peak = finish(start(server, tmp_path / str(count), count, "live"))
            assert answered == count
            assert server.written.total() == count
            assert set(server.written.values()) == {1}
            peaks.append(peak)
    assert peaks[1] <= peaks[0] + 20_000, f"kB: {peaks}"
