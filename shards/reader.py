"""Dataset on disk -> single scans, metadata and studies.

In: the folder of a finished dataset. Out: what a `SampleRef` addresses, into the caller's buffers.
A raw scan is one `preadv` from the page cache into the batch: no copy, no decoding, no worker
process (reference/storage.md: 0.5 ms of CPU a scan, where torch files and worker processes take 24
to 30). Every read is checked against its CRC-32C (23 GB/s) unless told otherwise. All methods may
be called from many threads at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa

from shards import codec, commit, index, layout, sidecar
from shards.catalog import DatasetInfo, read_info
from shards.index import Address, SampleRef, Samples
from shards.remote import StoreFailure
from shards.source import Source, source_of
from shards.store import Location, Store, store_at
from study.errors import UserError
from study.records import Study

READ_TRIES = 3
"""Readings of a member before its bytes are called wrong: a truncated answer passes."""


class CorruptSample(Exception):
    """Bytes of a shard are not what the index says."""

    def __init__(self, shard: str, key: str, address: Address, problem: str) -> None:
        super().__init__(
            f"{shard}: study {key}, member {address.member} at byte {address.offset}: {problem}"
        )
        self.shard, self.key, self.member, self.offset = shard, key, address.member, address.offset

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_error, (self.args[0], vars(self))


class Dataset:
    """A finished dataset, opened for random access. Make one with `Dataset.open`."""

    def __init__(self, store: Store, info: DatasetInfo, samples: Samples, source: Source) -> None:
        self.store = store
        self.info = info
        self._samples = samples
        self.source = source
        """Where the bytes of members come from."""

    @classmethod
    def open(cls, location: Location, source: Source | None = None) -> Dataset:
        """Open the dataset in a folder or at a URL; `source` is where its members' bytes come from
        if not plainly from there (see `cache`).

        UserError where there is no finished one, saying what to run.
        """
        store = store_at(location)
        info = read_info(store)
        try:
            samples = index.load(store, info.files.get(index.INDEX_FILE, ""))
        except StoreFailure:
            raise
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{store.url}/{index.INDEX_FILE} cannot be read: {error}; see `dicom2clip shards "
                f"verify {store.url}` and `repair`"
            ) from None
        if len(samples) != info.num_studies:
            raise UserError(
                f"{store.url}: {index.INDEX_FILE} has {len(samples)} studies, dataset.json says "
                f"{info.num_studies}; `dicom2clip shards repair` writes both anew"
            )
        return cls(store, info, samples, source or source_of(store))

    @property
    def path(self) -> str:
        """Folder or URL, for messages and commands."""
        return self.store.url

    def samples(self, split: str | None = None) -> Samples:
        """Samples of a split, or all, in the order of shard and offset."""
        if split is not None and split not in layout.SPLITS:
            raise UserError(f"split {split!r} is not one of {', '.join(layout.SPLITS)}")
        return self._samples if split is None else self._samples.of_split(split)

    def metadata(self, ref: SampleRef, *, check: bool = True) -> dict[str, Any]:
        """KEY.json of a sample."""
        payload = self._payload(ref, ref.metadata, check, keep=False)
        try:
            meta = json.loads(payload.tobytes())
        except ValueError as error:
            raise self._corrupt(ref, ref.metadata, f"not JSON: {error}") from None
        if not isinstance(meta, dict) or meta.get("key") != ref.key:
            raise self._corrupt(ref, ref.metadata, "it is not the metadata of this study")
        return meta

    def read_scan(
        self, ref: SampleRef, scan: int, out: np.ndarray | None = None, *, check: bool = True
    ) -> np.ndarray:
        """Array (D, H, W) of scan number `scan`, read into `out` if given (C-contiguous, same shape
        and dtype).

        CorruptSample where bytes are missing or wrong; `check=False` leaves out the checksum.
        """
        address = ref.scans[scan]
        if out is None:
            out = np.empty(address.shape, address.dtype)
        elif out.shape != address.shape or out.dtype != address.dtype or not out.flags.c_contiguous:
            gaps = "" if out.flags.c_contiguous else ", not contiguous"
            buffer = f"a buffer of {out.dtype} {out.shape}{gaps}"
            what = f"{ref.key} scan {scan} is {address.dtype} {address.shape}"
            raise ValueError(f"{what}; it does not fit {buffer}")
        if address.codec == codec.RAW:
            self._read_raw(ref, address, out, check)
        else:
            payload = self._payload(ref, address, check)
            try:
                codec.decompress_into(payload, out, address.array_offset)
            except codec.DecodeError as error:
                raise self._corrupt(ref, address, str(error)) from None
        return out

    def read_scans(
        self,
        wanted: Sequence[tuple[SampleRef, int]],
        out: np.ndarray,
        pool: Executor,
        *,
        check: bool = True,
    ) -> np.ndarray:
        """Read scans into rows of `out` (N, D, H, W) with the threads of `pool`; returns
        out[:len(wanted)]."""
        jobs = [
            pool.submit(self.read_scan, ref, scan, out[row], check=check)
            for row, (ref, scan) in enumerate(wanted)
        ]
        for job in jobs:
            job.result()
        return out[: len(wanted)]

    def read_study(self, ref: SampleRef, *, check: bool = True) -> Study:
        """The study that was written."""
        arrays = [self.read_scan(ref, scan, check=check) for scan in range(len(ref.scans))]
        try:
            return layout.study_from_json(self.metadata(ref, check=check), arrays)
        except ValueError as error:
            raise self._corrupt(ref, ref.metadata, str(error)) from None

    def find(self, key_or_prefix: str) -> SampleRef:
        """The sample whose key is, or alone begins with, `key_or_prefix`. UserError otherwise."""
        found = self._samples.that_begin(key_or_prefix)
        exact = [sample for sample in found if sample.key == key_or_prefix]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if not found:
            raise UserError(
                f"{self.path} has no study {key_or_prefix!r}; list them with `dicom2clip shards ls`"
            )
        some = ", ".join(sample.key for sample in found[:3])
        raise UserError(
            f"{len(found)} studies begin with {key_or_prefix!r} ({some}, ...); give more of the key"
        )

    def study(self, key_or_prefix: str) -> Study:
        """The study of that key, or of the only key that begins so."""
        return self.read_study(self.find(key_or_prefix))

    def table(self) -> pa.Table:
        """A row a study, the rejected ones too, with the column `shard` added (schema:
        `sidecar.SCHEMA`)."""
        columns = [field for field in sidecar.SCHEMA.names if field != "members"]
        tables = []
        for shard in sorted(commit.committed(self.store)):
            table = sidecar.read(self.store, shard, columns)
            tables.append(table.append_column("shard", pa.array([shard] * len(table), pa.int32())))
        if tables:
            return pa.concat_tables(tables)
        empty = pa.schema([sidecar.SCHEMA.field(name) for name in columns]).append(
            pa.field("shard", pa.int32())
        )
        return empty.empty_table()

    def __len__(self) -> int:
        return len(self._samples)

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset, (self.store, self.info, self._samples, self.source)

    def _read_raw(self, ref: SampleRef, address: Address, out: np.ndarray, check: bool) -> None:
        header = np.empty(address.array_offset, np.uint8)
        data = out.reshape(-1).view(np.uint8)
        if len(header) + len(data) != address.length:
            raise self._corrupt(
                ref, address, f"{address.length} bytes do not hold {out.dtype} {out.shape}"
            )
        self._read(ref, address, [header, data], check)

    def _payload(
        self, ref: SampleRef, address: Address, check: bool, keep: bool = True
    ) -> np.ndarray:
        payload = np.empty(address.length, np.uint8)
        self._read(ref, address, [payload], check, keep)
        return payload

    def _read(
        self,
        ref: SampleRef,
        address: Address,
        buffers: list[np.ndarray],
        check: bool,
        keep: bool = True,
    ) -> None:
        """Read the member into buffers, one after the other; again where its bytes are missing or
        wrong."""
        name = commit.tar_name(ref.shard)
        for tries_left in reversed(range(READ_TRIES)):
            problem = self._try(name, address, buffers, check, keep)
            if not problem:
                return
            self.source.forget(name, address.offset, address.length)
            if not tries_left:
                raise self._corrupt(ref, address, problem)

    def _try(
        self, name: str, address: Address, buffers: list[np.ndarray], check: bool, keep: bool
    ) -> str:
        """What is wrong with the bytes that were read; empty where they are right."""
        views = [buffer.data for buffer in buffers]
        try:
            count = self.source.fill(name, address.offset, views, keep=keep)
        except FileNotFoundError:
            return "the shard is missing"
        except StoreFailure:
            raise  # nothing is known about the bytes
        except OSError as error:
            return f"it cannot be read: {error}"
        if count < address.length:
            end, expected = address.offset + count, address.offset + address.length
            return f"the shard ends at byte {end}, before {expected}: truncated"
        found = 0
        for buffer in buffers if check else ():
            found = google_crc32c.extend(found, buffer)
        if check and found != address.crc32c:
            return f"crc32c is {found:08x}, the index says {address.crc32c:08x}"
        return ""

    def _corrupt(self, ref: SampleRef, address: Address, problem: str) -> CorruptSample:
        return CorruptSample(commit.tar_name(ref.shard), ref.key, address, problem)


def _rebuild_error(message: str, facts: dict[str, Any]) -> CorruptSample:
    error = CorruptSample.__new__(CorruptSample)
    error.args = (message,)
    vars(error).update(facts)
    return error
