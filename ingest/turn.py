"""Whose turn it is in a run folder: tasks of a job that is over write nothing any more.

In: the run folder. Out: a word that the client writes when it begins, and that its tasks compare
before they write. The idea: workers of a running cluster go on with their task when its client has
been killed, and know nothing of the next client, which may come at once and with other sources. A
lock does not help: they may be on other hosts, and the one who would hold it is dead.
"""

from __future__ import annotations

import os
from pathlib import Path

from study import private
from study.errors import UserError

FILE = "turn"
NOBODY = ""
"""Where there is no client that could be gone."""


def begin(run: Path) -> str:
    """Take the turn from whoever had it. For the one client that is in the run folder."""
    turn = os.urandom(8).hex()
    private.write_text(run / FILE, turn)
    return turn


def refuse_if_over(run: Path, turn: str) -> None:
    """Raises UserError where another client has begun since."""
    if turn != NOBODY and (run / FILE).read_text() != turn:
        raise UserError(f"another run has begun in {run}: this one is over; what is done is kept")
