"""What a header may ask for at most: beyond, a file is TOO_LARGE and not a worker dead.

In: nothing. Out: limits, and the error that says that one is reached.
"""

from __future__ import annotations

MAX_FRAMES = 1 << 18
"""Frames of one file: each is a row. Whole-brain fMRI of an hour has about 200,000."""
MAX_FRAME_PIXELS = 1 << 24
"""Of one image, or of a slice once it is straightened: a process holds several of them. The largest
CT and MR matrices have 2048 x 2048; mosaics have more."""
LARGEST_INFLATED = 1 << 30
"""Bytes that a deflated data set may have."""


class TooLarge(ValueError):
    """A limit is reached."""
