"""Studies -> one shard, committed whole or not at all.

In: studies, one at a time, and the reasons for those that failed. Out: a tar, a Parquet file and,
last, the commit record (see `commit`). Equal studies in equal order give equal bytes, on any
machine at any time. The tar streams to the disk under a temporary name; memory holds one study, and
a row for each.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards import codec, commit, layout, sidecar, store
from shards.catalog import INFO_FILE, finish_dataset
from shards.commit import ShardStats, committed, discard_uncommitted
from shards.index import Address, address_of
from shards.store import Location, store_at
from shards.tar import TarWriter
from study.records import Reason, Study

__all__ = ["ShardStats", "ShardWriter", "committed", "discard_uncommitted", "finish_dataset"]


class ShardWriter:
    """Writes shard number `shard` of the dataset at `dataset`: a folder, made if missing, or a URL.

    Use as a context manager: leaving it cleanly commits the shard and replaces one of that number,
    leaving it by an exception removes all traces. `compression` is none or zstd; `content`
    identifies what the shard is made from. `before_commit` is called when all is written and
    nothing is replaced yet: what it raises leaves no trace of the shard, what it returns says
    whether to commit.
    """

    def __init__(
        self,
        dataset: Location,
        shard: int,
        compression: str,
        *,
        content: str = "",
        before_commit: Callable[[], bool] = lambda: True,
    ) -> None:
        if compression not in layout.SUFFIX:
            raise ValueError(
                f"compression {compression!r} is not one of {', '.join(layout.SUFFIX)}"
            )
        self.stats: ShardStats | None = None
        """The commit record, once the shard is committed."""
        self._dataset, self._shard, self._content = store_at(dataset), shard, content
        self._compression, self._before_commit = compression, before_commit
        self._rows: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        self._histograms: dict[str, np.ndarray] = {}
        self._intact = True

    def __enter__(self) -> ShardWriter:
        self._started = time.monotonic()
        self._new = self._dataset.create(commit.tar_name(self._shard))
        self._tar = TarWriter(self._new.stream)
        return self

    def add(self, study: Study) -> None:
        """Append a study. ValueError where it breaks the schema, before anything of it is
        written."""
        meta = layout.study_to_json(study)
        self._claim(study.key)
        self._intact = False  # until the sample is whole: an exception in here spoils the tar
        members = [self._append(layout.metadata_member(study.key), layout.to_bytes(meta))]
        for number, scan in enumerate(study.scans):
            name = layout.scan_member(study.key, number, self._compression)
            array = np.asarray(scan.array)  # one after the other: they may lie in a file
            members.append(self._append(name, codec.encode(array, codec.codec_of(name))))
            count_values(self._histograms, f"{scan.modality} {scan.window}", array)
        self._rows.append(sidecar.used_row(meta, members))
        self._intact = True

    def reject(self, key: str, patient: str, split: str, reason: Reason) -> None:
        """Note a study that gave no sample. Only the code of the reason goes into the dataset."""
        layout.check_key(key)
        layout.check_key(patient)
        if split not in layout.SPLITS:
            raise ValueError(f"split {split!r} is not one of {', '.join(layout.SPLITS)}")
        self._claim(key)
        self._rows.append(sidecar.rejected_row(key, patient, split, Reason(reason)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._new.discard()

    def _claim(self, key: str) -> None:
        assert self._intact, "an earlier study failed half-way; the shard cannot be used any more"
        if key in self._keys:
            raise ValueError(f"study {key} comes twice into shard {self._shard}")
        self._keys.add(key)

    def _append(self, name: str, payload: bytes) -> Address:
        return address_of(name, self._tar.append(name, payload), payload)

    def _commit(self) -> None:
        assert self._intact, "a study failed half-way and the exception was swallowed"
        rows = sidecar.table(self._rows)
        counts = commit.counts_of(rows)
        used = counts["successes"] > 0
        tar_sha256 = self._tar.finish()
        table = parquet_bytes(rows, self._content)
        stats = ShardStats(
            shard=self._shard,
            content=self._content,
            **counts,
            histograms=plain_histograms(self._histograms),
            tar_bytes=self._tar.length if used else 0,
            tar_sha256=tar_sha256 if used else "",
            parquet_bytes=len(table),
            parquet_sha256=hashlib.sha256(table).hexdigest(),
            seconds=round(time.monotonic() - self._started, 3),
        )
        self._new.sync()
        if not self._before_commit():
            return
        if self._dataset.size(commit.stats_name(self._shard)) is not None:
            self._dataset.remove(INFO_FILE)  # the index knows of the shard that is replaced
        self._dataset.remove(commit.stats_name(self._shard))  # no record over foreign bytes
        if used:
            self._new.publish()
        else:
            self._dataset.remove(commit.tar_name(self._shard))
        store.write(self._dataset, commit.parquet_name(self._shard), table)
        self.stats = commit.write_record(self._dataset, stats)


def parquet_bytes(table: pa.Table, content: str) -> bytes:
    """The Parquet file of a shard. It carries `content` too, should the commit record be lost."""
    table = table.replace_schema_metadata({commit.CONTENT_KEY: content})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def count_values(histograms: dict[str, np.ndarray], kind: str, array: np.ndarray) -> None:
    """Add a scan (D, H, W) of a kind ("MODALITY window") to the counts of the values 0 to 255; only
    uint8 is counted."""
    if array.dtype != np.uint8:
        return
    counts = histograms.setdefault(kind, np.zeros(256, np.int64))
    for slice_HW in array:  # by slice: bincount makes an int64 copy of what it counts
        counts += np.bincount(slice_HW.ravel(), minlength=256)


def plain_histograms(histograms: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """As a commit record holds them."""
    return {name: counts.tolist() for name, counts in sorted(histograms.items())}
