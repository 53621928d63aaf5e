"""Live facts about the workers, gathered by a thread of its own.

In: a dask client. Out: how many workers there are and how much memory each takes, at no cost for
who asks; a word when none is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

LOOK_S = 2.0
NONE_LEFT_S = 30.0
"""Without a worker for so long: restarting one takes a few seconds."""


class Watch:
    """Looks at the workers every `LOOK_S` seconds, until `stop`."""

    def __init__(
        self,
        client: Client,
        say: Callable[[str], None],
        mend: Callable[[], None] = lambda: None,
    ) -> None:
        """`mend` is called at every look."""
        self.memory: Mapping[str, int] = {}
        """Bytes by the address of the worker, as of the last look."""
        self.peak_bytes = 0
        """Most that one worker was seen to take."""
        self._client, self._say, self._mend = client, say, mend
        self._ended = threading.Event()
        self.look()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look now."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        self.memory = {
            address: int(worker.get("metrics", {}).get("memory", 0))
            for address, worker in workers.items()
        }
        self.peak_bytes = max(self.peak_bytes, *self.memory.values(), 0)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(timeout=LOOK_S)

    def _run(self) -> None:
        seen, said = time.monotonic(), False
        while not self._ended.wait(LOOK_S):
            try:
                self._mend()
                self.look()
            except Exception:  # the client is closing, or has lost its scheduler: it says so itself
                continue
            if self.memory:
                if said:
                    self._say("there are workers again")
                seen, said = time.monotonic(), False
            elif not said and time.monotonic() - seen > NONE_LEFT_S:
                self._say("no worker is left; waiting for one (Ctrl-C ends, nothing is lost)")
                said = True
