"""A table of any length -> parts by ranges of the studies' pseudonyms, in bounded memory.

In: tables, a batch at a time, and the part of every row. Out: a file a part, in which rows keep
their order. The idea: shards are runs of studies in the order of their pseudonyms, so that a part
that is a range of pseudonyms has all rows of its studies, and a shard's studies lie in one or two
parts. Rows wait in memory up to a limit; then each part's go to the end of its file, one Arrow
stream after the other, so that no file stays open. A crash costs the pass, which is done anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from study import private
from study.errors import naming
from study.pseudonyms import pseudonym

ROWS = 100_000
"""Images of a part, about: what a worker groups at a time within some hundred megabytes."""
BUFFER_BYTES = 256 * 10**6
"""Rows that wait in memory, as Arrow counts them; to sort them takes twice that again."""
COMPRESSION = "zstd"


def number_of_parts(rows: int) -> int:
    """How many parts a table of so many images is split into."""
    return max(1, -(-rows // ROWS))


def part_of(key: str, parts: int) -> int:
    """The part that holds a pseudonym: ranges of equal width, in order.

    >>> part_of("00" * 16, 3), part_of("56" * 16, 3), part_of("ff" * 16, 3)
    (0, 1, 2)
    """
    return int(key[:8], 16) * parts >> 32


def parts_of_studies(column: pa.Array, key: bytes, parts: int) -> np.ndarray:
    """The part of every row, from its StudyInstanceUID, under the project key."""
    coded = column.dictionary_encode()
    of_uid = [part_of(pseudonym(key, "study", uid.as_py()), parts) for uid in coded.dictionary]
    return np.array(of_uid, np.int64)[coded.indices.to_numpy(zero_copy_only=False)]


def parts_of_images(rows: pa.Table, key: bytes, parts: int) -> np.ndarray:
    """The part of every image: that of its study; where it has none, one by its path."""
    uids = rows["study_uid"].combine_chunks()
    found = parts_of_studies(uids, key, parts)
    without = np.flatnonzero(uids.to_numpy(zero_copy_only=False) == "")
    for row, path in zip(without, rows["path"].take(pa.array(without)).to_pylist(), strict=True):
        found[row] = part_of(hashlib.sha256(path.encode()).hexdigest(), parts)
    return found


def parts_of_rows(
    rows: pa.Table, spread: Callable[[int], str], key: bytes, parts: int
) -> np.ndarray:
    """The part of every row of a table of reports: that of its study; where it has none, one by
    `spread`, hexadecimal digits of a row's number."""
    uids = rows["study_uid"].combine_chunks()
    found = parts_of_studies(uids, key, parts)
    for row in np.flatnonzero(uids.to_numpy(zero_copy_only=False) == "").tolist():
        found[row] = part_of(spread(row), parts)
    return found


class Scatter:
    """Appends rows to the files of their parts, in a new private folder. A context manager: what
    still waits is written when the block ends well."""

    def __init__(self, folder: Path, parts: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        private.private_folder(folder)
        self._folder, self._num_parts = folder, parts
        self._waiting: list[pa.Table] = []
        self._parts: list[np.ndarray] = []
        self._bytes = 0

    def __enter__(self) -> Scatter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()

    def add(self, rows: pa.Table, parts: np.ndarray) -> None:
        """Rows, and the part of each."""
        self._waiting.append(rows)
        self._parts.append(parts)
        self._bytes += rows.nbytes
        if self._bytes >= BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        parts = np.concatenate(self._parts)
        order = np.argsort(parts, kind="stable")
        rows = pa.concat_tables(self._waiting).combine_chunks().take(pa.array(order))
        self._waiting, self._parts, self._bytes = [], [], 0
        bounds = np.searchsorted(parts[order], np.arange(self._num_parts + 1))
        for part in range(self._num_parts):
            start, end = int(bounds[part]), int(bounds[part + 1])
            if start < end:
                _append(_file(self._folder, part), rows.slice(start, end - start))


def read(folder: Path, part: int, schema: pa.Schema) -> pa.Table:
    """All rows of a part, in the order in which they came."""
    try:
        with pa.OSFile(str(_file(folder, part))) as stream:
            tables = []
            while stream.tell() < stream.size():
                tables.append(pa.ipc.open_stream(stream).read_all())
    except FileNotFoundError:
        tables = []
    return pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()


def _append(file: Path, rows: pa.Table) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, private.FILE_MODE)
    options = pa.ipc.IpcWriteOptions(compression=COMPRESSION)
    with (
        naming(file),
        os.fdopen(descriptor, "wb") as stream,
        pa.ipc.new_stream(stream, rows.schema, options=options) as writer,
    ):
        writer.write_table(rows)


def _file(folder: Path, part: int) -> Path:
    return folder / f"{part:05d}.arrow"
