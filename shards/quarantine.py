"""Where the bytes of damaged samples go.

In: a stretch of a tar and what is wrong with it. Out: two files, `00000_KEY_OFFSET.bytes` as it was
and a text beside it. The folder is apart from the dataset's own files, and no name ends in .tar,
.npy or .json: nothing that reads datasets takes it for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from shards import store
from shards.problem import Problem
from shards.store import Location, Store, store_at

FOLDER = "quarantine"
"""Within the dataset, where no other place is given."""
_CHUNK = 1 << 20
_UNFINISHED = re.compile(r"\.\d{5,}_.*\.(bytes|txt)\.[0-9a-f]+\.tmp")
"""Ours, and left over: the folder may be one in which others write too."""


def place_for(dataset: Store, folder: Location | None) -> Store:
    """The store that takes what is damaged."""
    return store_at(f"{dataset.url.rstrip('/')}/{FOLDER}" if folder is None else folder)


def unfinished(aside: Store) -> list[str]:
    """Files that a killed repair left half written."""
    return [name for name in aside.sizes() if _UNFINISHED.fullmatch(name)] if aside.exists() else []


def put(
    place: Store,
    tar: str,
    aside: Store,
    stretch: tuple[int, int],
    key: str,
    problems: Iterable[Problem],
) -> None:
    """Copy bytes [start, end) of a tar, with a text of what is wrong."""
    start, end = stretch
    name = "_".join(word for word in (Path(tar).stem, key, str(start)) if word)
    new = aside.create(f"{name}.bytes")
    try:
        for at in range(start, end, _CHUNK):
            new.stream.write(place.read(tar, at, min(_CHUNK, end - at)))
        new.publish()
    finally:
        new.discard()
    lines = [f"Bytes {start} to {end} of {tar}.", *(str(problem) for problem in problems), ""]
    store.write(aside, f"{name}.txt", "\n".join(lines).encode())
