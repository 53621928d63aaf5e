"""A real browser for the tests of HTML pages: Chromium without a window, over a pipe.

In: a page's file. Out: what a user would see, as values of JavaScript, pictures of the screen, and
every network request that was made. The DevTools protocol needs no driver and no port: commands go
to file descriptor 3 of the browser and answers come from its 4, as JSON that ends with a NUL.
Source: chromedevtools.github.io/devtools-protocol; `--remote-debugging-pipe`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_S = 60.0
"""For one answer: a loaded machine is slow to start a browser."""
KEY_CODES = {"Escape": 27, "Enter": 13, "Tab": 9}


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser with a new profile. The test is skipped where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: install chromium (looked for {', '.join(NAMES)})")
    browser = Browser(program, profile)
    try:
        yield browser
    finally:
        browser.close()


class Browser:
    """One tab."""

    def __init__(self, program: str, profile: Path) -> None:
        commands, self._commands = map(_above_standard, os.pipe())
        self._answers, answers = map(_above_standard, os.pipe())
        arguments = [program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, nowhere, n) for n in (0, 1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, commands, 3), (os.POSIX_SPAWN_DUP2, answers, 4)]
        self._process = os.posix_spawn(
            program, [*arguments, "about:blank"], os.environ, file_actions=actions, setpgroup=0
        )
        for descriptor in (nowhere, commands, answers):
            os.close(descriptor)
        self._number, self._session, self._unread = 0, "", b""
        self.events: list[dict[str, Any]] = []
        tab = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command, and its answer."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        data = json.dumps(command).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while (answer := self._message()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def open(self, page: Path) -> None:
        """Load a file and wait until it has loaded."""
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def ask(self, script: str) -> Any:
        """Value of an expression of JavaScript in the page; promises are waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Keys one after the other: characters, or names as in KEY_CODES."""
        for key in keys:
            facts: dict[str, Any] = {"key": key}
            if key in KEY_CODES:
                facts["windowsVirtualKeyCode"] = KEY_CODES[key]
            else:
                facts["text"] = key
            self.send("Input.dispatchKeyEvent", type="keyDown", **facts)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Of the window, in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def screenshot(self, file: Path) -> None:
        """PNG of what the window shows."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def requests(self) -> list[str]:
        """URLs that were asked for since the page was opened, without pictures inside the page."""
        self.ask("0")  # what happened before it has been heard of after it
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]

    def problems(self) -> list[str]:
        """Errors of scripts and of the page's policy since the page was opened."""
        self.ask("0")
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event.get("method") == "Log.entryAdded":
                found.append(parameters["entry"]["text"])
        return found

    def close(self) -> None:
        """End the browser and its children."""
        os.close(self._commands)  # it ends when its pipe does
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if os.waitpid(self._process, os.WNOHANG)[0]:
                break
            time.sleep(0.02)
        else:
            os.killpg(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        os.close(self._answers)

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._answers], [], [], left)[0], "the browser does not answer"
            data = os.read(self._answers, 1 << 20)
            assert data, "the browser has ended"
            self._unread += data
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)


def _above_standard(descriptor: int) -> int:
    """The same file at a number that is not 0 to 4, which the browser's are."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
