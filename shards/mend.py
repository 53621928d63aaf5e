"""One damaged shard, made whole again with what is left of it.

In: the books of a shard and its tar. Out: a `Mending`, which says what would be done and what is
lost, and, if wanted, the deed. Good samples stay as they are, byte for byte; the tar is written
anew only where it holds anything else. A sample whose payloads are damaged becomes a rejected row
(DAMAGED), so that the counts still add up. The order of writing is that of `writer`: no record,
tar, table, record; killed anywhere, the next repair goes on from there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import google_crc32c
import numpy as np

from shards import allowed, books, codec, commit, quarantine, sidecar, store
from shards.books import ShardBooks
from shards.commit import ShardStats
from shards.examine import Book, Examination, Sample
from shards.index import Address
from shards.problem import Problem
from shards.store import Store
from shards.tar import TarWriter
from shards.writer import count_values, parquet_bytes, plain_histograms
from study.records import Reason

Row = str | dict[str, Any]
"""The key of a sample that is kept, or the row of a rejected study."""


@dataclass(frozen=True)
class Mending:
    """What is done to a shard."""

    shard: int
    done: tuple[str, ...]
    lost: tuple[str, ...]
    """What no repair brings back."""
    keep: tuple[Sample, ...]
    remove: tuple[Sample, ...]
    strays: tuple[tuple[int, int], ...]
    """Stretches of the tar that belong to no member."""
    rows: tuple[Row, ...]
    """Of the new table."""
    rewrites_tar: bool
    content: str
    tar_sha256: str
    """Of the tar as it is."""


def look(place: Store, number: int, sizes: dict[str, int], indexed: Book | None) -> Mending:
    """What would mend a shard. Writes nothing."""
    own = books.read_shard(place, number, sizes)
    tar = commit.tar_name(number)
    told = list(books.books_of(own, None, False))
    told += [indexed] if indexed is not None else []
    samples: list[Sample] = []
    looked = Examination(place, tar, sizes.get(tar, 0), told)
    if tar in sizes:
        samples = list(looked.samples())
    is_as_recorded = own.record is not None and looked.sha256 == own.record.tar_sha256
    keep: list[Sample] = []
    remove: list[Sample] = []
    seen: set[str] = set()
    for sample in samples:
        is_proven = sample.is_vouched or is_as_recorded
        is_likely = not own.record_is_proven and not sample.is_disputed  # nothing speaks against it
        is_good = not sample.is_bad and (is_proven or is_likely) and sample.key not in seen
        (keep if is_good else remove).append(sample)
        seen |= {sample.key} if is_good else set()
    rewrites = bool(remove or looked.problems or any(s.problems for s in keep))
    rows = tuple(_rows(own, keep, remove, indexed))
    counts = _counts(rows)
    promised = _promised(own)
    is_complete = promised is not None and counts == promised
    content = own.content if is_complete and allowed.COMMIT["content"].fits(own.content) else ""
    done = [f"study {s.key}: out of {tar} into quarantine" for s in remove]
    if rewrites:
        done.append(f"{tar}: written anew with {len(keep)} samples")
    done.append(f"{commit.parquet_name(number)}, {commit.stats_name(number)}: written anew")
    return Mending(
        number,
        tuple(done),
        tuple(_lost(own, counts, promised, remove, rows, tar if tar not in sizes else "")),
        tuple(keep),
        tuple(remove),
        tuple(looked.strays),
        rows,
        rewrites,
        content or commit.REPAIRED,
        looked.sha256,
    )


def apply(place: Store, mending: Mending, aside: Store) -> None:
    """Mend a shard; what is taken out goes to the store `aside`."""
    number = mending.shard
    tar, parquet, stats = (part(number) for part in commit.PARTS)
    old, _ = commit.read_record(place, stats)
    for sample in mending.remove:
        stretch = (sample.start, sample.end)
        quarantine.put(place, tar, aside, stretch, sample.key, sample.problems)
    for stretch in mending.strays:
        quarantine.put(place, tar, aside, stretch, "", [Problem(tar, "bytes of no member")])
    if not mending.rows:
        for name in (stats, tar, parquet):
            place.remove(name)
        return
    histograms: dict[str, np.ndarray] = {}
    used: dict[str, dict[str, Any]] = {}
    new = place.create(tar) if mending.rewrites_tar and mending.keep else None
    try:
        writer = TarWriter(new.stream) if new is not None else None
        for sample in mending.keep:
            assert sample.meta is not None, "it is good"
            members = [
                _copied(place, tar, address, writer, sample.meta, histograms)
                for address in sample.members
            ]
            used[sample.key] = sidecar.used_row(sample.meta, members)
        rows = [used[row] if isinstance(row, str) else row for row in mending.rows]
        table = sidecar.table(rows)
        tar_sha256 = writer.finish() if writer is not None else mending.tar_sha256
        place.remove(stats)
        if new is not None:
            new.publish()
        elif not mending.keep:
            place.remove(tar)
    finally:
        if new is not None:
            new.discard()
    data = parquet_bytes(table, mending.content)
    store.write(place, parquet, data)
    record = ShardStats(
        shard=number,
        content=mending.content,
        **commit.counts_of(table),
        histograms=plain_histograms(histograms),
        tar_bytes=(place.size(tar) or 0) if mending.keep else 0,
        tar_sha256=tar_sha256 if mending.keep else "",
        parquet_bytes=len(data),
        parquet_sha256=hashlib.sha256(data).hexdigest(),
        seconds=old.seconds if old is not None else 0.0,
    )
    commit.write_record(place, record)


def _copied(
    place: Store,
    tar: str,
    address: Address,
    writer: TarWriter | None,
    meta: dict[str, Any],
    histograms: dict[str, np.ndarray],
) -> Address:
    """Copy a member into the new tar, if there is one; returns where it is now."""
    payload = place.read(tar, address.offset, address.length)
    if google_crc32c.value(payload) != address.crc32c:
        raise OSError(f"{tar}: {address.member} reads otherwise than a moment ago")
    if scans := [s for s in meta["scans"] if f".{s['member']}." in address.member]:
        kind = f"{scans[0]['modality']} {scans[0]['window']}"
        count_values(histograms, kind, codec.decode(payload, address.codec))
    if writer is None:
        return address
    return replace(address, offset=writer.append(address.member, payload))


def _rows(
    own: ShardBooks, keep: list[Sample], remove: list[Sample], indexed: Book | None
) -> Iterator[Row]:
    """Rows of the new table: those of the old one in its order, if it can be believed, then those
    of samples that only the tar knows."""
    good = {sample.key for sample in keep}
    told: set[str] = set()
    if own.table is not None and (own.table_is_proven or not own.record_is_proven):
        names = ["key", "patient", "split", "reason"]
        for row in own.table.select(names).to_pylist():
            reason = row["reason"] or Reason.DAMAGED  # it was used: its sample is not there now
            rejected = {**sidecar.rejected_row(row["key"], row["patient"], row["split"], reason)}
            if row["key"] in good:
                told.add(row["key"])
                yield row["key"]
            elif not any(allowed.misfits(rejected, allowed.TABLE)):
                told.add(row["key"])
                yield rejected
    yield from (sample.key for sample in keep if sample.key not in told)
    known: dict[str, tuple[str, str]] = {}
    if indexed is not None and indexed.is_proven:
        columns = [indexed.rows[name].to_pylist() for name in ("key", "patient", "split")]
        known = {key: (patient, split) for key, patient, split in zip(*columns, strict=True)}
    for sample in remove:
        if sample.meta is not None:
            known.setdefault(sample.key, (sample.meta["patient"], sample.meta["split"]))
    for key, (patient, split) in known.items():
        if key not in told and key not in good:
            yield sidecar.rejected_row(key, patient, split, Reason.DAMAGED)


def _counts(rows: Sequence[Row]) -> tuple[int, Counter[str]]:
    """Samples, and rejected studies by reason."""
    reasons = Counter(row["reason"] for row in rows if not isinstance(row, str))
    return sum(isinstance(row, str) for row in rows), reasons


def _promised(own: ShardBooks) -> tuple[int, Counter[str]] | None:
    """The same of the shard as it was, by the best book there is."""
    if own.record is not None and own.record_is_proven:
        return own.record.successes, Counter(own.record.rejected)
    if own.table is not None:
        counts = commit.counts_of(own.table)
        return counts["successes"], Counter(counts["rejected"])
    return None


def _lost(
    own: ShardBooks,
    counts: tuple[int, Counter[str]],
    promised: tuple[int, Counter[str]] | None,
    remove: Sequence[Sample],
    rows: Sequence[Row],
    missing_tar: str,
) -> Iterator[str]:
    """What no repair brings back."""
    parquet = commit.parquet_name(own.shard)
    if promised is None:
        yield f"{parquet}: which studies of the shard were rejected, and why"
        return
    gone = promised[0] - counts[0]
    if missing_tar and promised[0]:
        yield f"{missing_tar}: it is gone, and {promised[0]} samples with it"
    elif gone > 0:
        yield f"{commit.tar_name(own.shard)}: {gone} samples, whose bytes are damaged"
    if unknown := (promised[1] - counts[1]).total():
        yield f"{parquet}: which {unknown} studies of the shard were rejected"
    kept = {row if isinstance(row, str) else row["key"] for row in rows}
    for sample in remove:
        if sample.key not in kept:
            yield f"study {sample.key}: its patient and split, so that it has no row any more"
