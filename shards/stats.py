"""What a dataset is made of, in numbers: scans, spacings, sentences, labels, duplicates.

In: a dataset. Out: `Stats`, for the table, the JSON and the plot of `shards stats`. Tables are read
a shard at a time and counted by Arrow, so that memory does not grow with the number of studies
beyond the index; only lengths of sentences need every KEY.json, which threads read. Histograms of
intensity come from the commit records, and are of whole shards, all splits together.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards import commit, same_pixels, sidecar
from shards.index import SampleRef
from shards.reader import CorruptSample, Dataset
from shards.same_pixels import ScanTable, SharedScans
from shards.tally import Tally

STEP_MM = 0.01
"""To which spacings are rounded."""
READERS = 8
"""Threads that read KEY.json files."""
AT_A_TIME = 4096
"""KEY.json files in flight."""
AXES = ("D", "H", "W")

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, all)."""


@dataclass
class LabelCounts:
    """Studies by what is known of a label."""

    positive: int = 0
    negative: int = 0
    uncertain: int = 0
    """Between 0 and 1."""

    @property
    def prevalence(self) -> float | None:
        """Share of the positive among the positive and negative."""
        known = self.positive + self.negative
        return self.positive / known if known else None


@dataclass
class TextCounts:
    """What a summariser's variant says."""

    sentences_a_study: Tally = field(default_factory=Tally)
    words_a_sentence: Tally = field(default_factory=Tally)


@dataclass
class Stats:
    """Counts of the studies of one split, or of all."""

    name: str
    split: str | None
    num_shards: int = 0
    studies: Counter[str] = field(default_factory=Counter)
    """By split."""
    patients: Counter[str] = field(default_factory=Counter)
    scans: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    bytes_stored: int = 0
    """Of the members as they lie in the tars."""
    bytes_arrays: int = 0
    """Of the arrays once decoded."""
    modalities: Counter[str] = field(default_factory=Counter)
    """Scans by modality; the next three likewise."""
    planes: Counter[str] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    tallies: dict[str, Tally] = field(default_factory=dict)
    """Numbers by what they are: scans a study, spacings, slices, ages, lengths of reports."""
    text: dict[str, TextCounts] = field(default_factory=dict)
    """By variant. Empty where KEY.json was not read."""
    labels: dict[str, LabelCounts] = field(default_factory=dict)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)
    """"MODALITY window" -> voxels of the values 0 to 255, of all splits."""
    duplicates: list[SharedScans] | None = None
    """None where they were not looked for."""
    unreadable: list[str] = field(default_factory=list)
    """Members that could not be read."""

    def tally(self, name: str, step: float = 1.0) -> Tally:
        return self.tallies.setdefault(name, Tally(step))

    def facts(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        duplicates = self.duplicates
        return {
            "name": self.name,
            "split": self.split,
            "shards": self.num_shards,
            "studies": dict(self.studies),
            "patients": dict(self.patients),
            "scans": dict(self.scans),
            "rejected": dict(sorted(self.rejected.items())),
            "bytes_stored": self.bytes_stored,
            "bytes_arrays": self.bytes_arrays,
            "compression_ratio": self.compression_ratio,
            "modalities": dict(sorted(self.modalities.items())),
            "planes": dict(sorted(self.planes.items())),
            "windows": dict(sorted(self.windows.items())),
            "flags": dict(sorted(self.flags.items())),
            **{name: tally.summary() for name, tally in self.tallies.items()},
            "sentences": {
                variant: {
                    "a_study": counts.sentences_a_study.summary(),
                    "words": counts.words_a_sentence.summary(),
                }
                for variant, counts in sorted(self.text.items())
            },
            "labels": {
                name: {**asdict(counts), "prevalence": counts.prevalence}
                for name, counts in sorted(self.labels.items())
            },
            "histograms_of_all_splits": {n: h.tolist() for n, h in sorted(self.histograms.items())},
            "duplicates": None if duplicates is None else [asdict(d) for d in duplicates],
            "unreadable": self.unreadable,
        }

    @property
    def compression_ratio(self) -> float | None:
        return round(self.bytes_arrays / self.bytes_stored, 4) if self.bytes_stored else None


def gather(
    dataset: Dataset,
    split: str | None = None,
    *,
    tables_only: bool = False,
    on_progress: Progress = lambda stage, done, total: None,
) -> Stats:
    """Count. `tables_only` reads no member: no lengths of sentences, no duplicates."""
    refs = dataset.samples(split)
    stats = Stats(dataset.info.name, split)
    numbers: defaultdict[int, dict[str, int]] = defaultdict(dict)  # shard -> key -> number
    for number, ref in enumerate(refs):
        numbers[ref.shard][ref.key] = number
    for ref in refs:
        stats.studies[ref.split] += 1
        stats.scans[ref.split] += len(ref.scans)
    stats.patients.update(found for found, _ in {(ref.split, ref.patient) for ref in refs})
    done = commit.committed(dataset.store)
    stats.num_shards = len(done)
    table = ScanTable()
    for count, shard in enumerate(sorted(done), 1):
        for name, histogram in done[shard].histograms.items():
            stats.histograms[name] = stats.histograms.get(name, 0) + np.array(histogram)
        _count_shard(stats, sidecar.read(dataset.store, shard), numbers[shard], table)
        on_progress("tables", count, len(done))
    if not tables_only:
        _count_text(stats, dataset, refs, on_progress)
        stats.duplicates = same_pixels.find(dataset, refs, table, stats.unreadable)
    return stats


def _count_shard(
    stats: Stats, rows: pa.Table, numbers: dict[str, int], scan_table: ScanTable
) -> None:
    """Count the rows of a shard's table; `numbers` are its samples that are in the index."""
    gone = rows.filter(pc.equal(rows["status"], "rejected"))
    if stats.split is not None:
        gone = gone.filter(pc.equal(gone["split"], stats.split))
    stats.rejected.update(_counts(gone["reason"]))
    current = pc.is_in(rows["key"], value_set=pa.array(list(numbers), pa.string()))
    rows = rows.filter(pc.and_(pc.equal(rows["status"], "used"), current)).combine_chunks()
    if not len(rows):
        return
    stats.bytes_stored += pc.sum(rows["bytes"]).as_py()
    stats.tally("scans_a_study").add(rows["num_scans"].to_numpy())
    stats.tally("age_years").add(rows["age_years"].drop_null().to_numpy())
    stats.tally("report_chars").add(rows["report_chars"].drop_null().to_numpy())
    _count_labels(stats, rows["labels"])
    scans, scan_rows = _flat(rows["scans"])
    if not len(scans):
        return
    modality, window = scans.field("modality"), scans.field("window")
    stats.modalities.update(_counts(modality))
    stats.planes.update(_counts(scans.field("plane")))
    stats.windows.update(_counts(pc.binary_join_element_wise(modality, window, " ")))
    stats.flags.update(_counts(pc.list_flatten(scans.field("flags"))))
    for kind, column in (("stored", "spacing_mm"), ("source", "source_spacing_mm")):
        spacing_mm = pc.list_flatten(scans.field(column)).to_numpy().reshape(-1, 3)
        for axis, letter in enumerate(AXES):
            stats.tally(f"{kind}_spacing_mm_{letter}", STEP_MM).add(spacing_mm[:, axis])
    source = pc.list_flatten(scans.field("source_shape")).to_numpy().reshape(-1, 3)
    stats.tally("source_slices").add(source[:, 0])
    members, _ = _flat(rows["members"])
    arrays = members.filter(pc.not_equal(members.field("codec"), "json"))
    shapes = pc.list_flatten(arrays.field("shape")).to_numpy().reshape(-1, 3)
    item_bytes = [np.dtype(name).itemsize for name in arrays.field("dtype").to_pylist()]
    stats.bytes_arrays += int((shapes.astype(np.int64).prod(axis=1) * item_bytes).sum())
    studies = np.array([numbers[key] for key in rows["key"].to_pylist()])
    counts = np.bincount(scan_rows, minlength=len(rows))
    within = np.concatenate([np.arange(count) for count in counts])
    scan_table.add(
        np.stack([studies[scan_rows], within], axis=1),
        scans.field("digest").to_pylist(),
        arrays.field("crc32c").to_numpy(),
        arrays.field("length").to_numpy(),
    )


def _count_labels(stats: Stats, column: pa.ChunkedArray) -> None:
    for chunk in column.chunks:
        values = chunk.items.to_numpy(zero_copy_only=False)
        kinds = np.where(values == 1, "positive", np.where(values == 0, "negative", "uncertain"))
        pairs = zip(chunk.keys.to_pylist(), kinds.tolist(), strict=True)
        for (name, kind), count in Counter(pairs).items():
            counts = stats.labels.setdefault(name, LabelCounts())
            setattr(counts, kind, getattr(counts, kind) + count)


def _count_text(
    stats: Stats, dataset: Dataset, refs: Sequence[SampleRef], on_progress: Progress
) -> None:
    """Read every KEY.json, for the lengths of sentences."""

    def lengths(ref: SampleRef) -> dict[str, list[int]] | str:
        try:
            sentences = dataset.metadata(ref)["report"]["sentences"]
        except CorruptSample as error:
            return str(error)
        return {name: [len(s.split()) for s in found] for name, found in sentences.items()}

    done = 0
    with ThreadPoolExecutor(READERS) as pool:
        for chunk in _chunks(refs, AT_A_TIME):
            words: defaultdict[str, list[int]] = defaultdict(list)
            for found in pool.map(lengths, chunk):
                if isinstance(found, str):
                    stats.unreadable.append(found)
                    continue
                for variant, counts in found.items():
                    text = stats.text.setdefault(variant, TextCounts())
                    text.sentences_a_study.add([len(counts)])
                    words[variant] += counts
            for variant, counts in words.items():
                stats.text[variant].words_a_sentence.add(counts)
            done += len(chunk)
            on_progress("sentences", done, len(refs))


def _flat(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Items of a column of lists, and the row that each is of."""
    lists = column.combine_chunks()
    return pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()


def _counts(values: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(values)
    return dict(zip(*(counted.field(n).to_pylist() for n in ("values", "counts")), strict=True))


def _chunks(refs: Sequence[SampleRef], size: int) -> Iterator[list[SampleRef]]:
    items = iter(refs)
    while chunk := list(itertools.islice(items, size)):
        yield chunk
