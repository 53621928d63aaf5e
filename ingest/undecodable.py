"""What is raised when pixels cannot be had: a reason for the ledger, not a text to be parsed.

In: a `Reason`. Out: an exception that keeps it, also on its way from one process to another.
"""

from __future__ import annotations

import errno

from study.records import Reason, Rejection


class UndecodableError(Exception):
    """Pixels of a slice cannot be had; `reason` and `detail` go into the ledger."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)  # the very arguments: so it can be pickled
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def rejection_of(error: Exception) -> Rejection:
    """What an error in the making of one volume means: whatever a header can still do to us costs
    that volume. Raises OSError itself, and one for want of memory: it is the machine's fault, and
    another time all may be well. (A volume that is too large for any machine is told by its plan,
    and what a decoder may take has its own limit: see `rules.max_voxels`, `ingest.supervise`.)"""
    if isinstance(error, OSError):
        raise error
    if isinstance(error, UndecodableError):
        return Rejection(error.reason, error.detail)
    if isinstance(error, MemoryError):
        raise OSError(errno.ENOMEM, "no memory for a volume") from error
    return Rejection(Reason.UNDECODABLE_PIXELS, f"{type(error).__name__}: {error}"[:200])


def damaged(detail: str) -> UndecodableError:
    """The error for pixels that are there, in a syntax that we read, and broken."""
    return UndecodableError(Reason.UNDECODABLE_PIXELS, detail[:200])
