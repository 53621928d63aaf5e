"""Errors that tell the user what to change.

In: whatever was wrong. Out: one message for the terminal, and the exit code of the command. A
`UserError` names the key, value or file, and what would be accepted; the command prints it alone,
without a traceback. Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USER = 2
"""The user's input is wrong; nothing was written."""
EXIT_REJECTED = 3
"""Done, but some items were rejected by a failure (not by a rule)."""
EXIT_RESUMABLE = 75
"""Stopped by a signal; the same command goes on (EX_TEMPFAIL of sysexits.h)."""


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Have an error of the system (a full disk) say where it happened, if it does not."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            raise OSError(error.errno, error.strerror, str(place)) from None
        raise


def yaml_fault(error: Exception) -> str:
    """What is wrong with a text that should be YAML, with its line, as a parser says it."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark and problem else str(error)


class UserError(ValueError):
    """What the user wrote cannot be used: configuration, path, table or argument."""
