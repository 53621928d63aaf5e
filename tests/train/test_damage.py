"""Training on a dataset with wrong bytes, and on one far away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path

import fsspec
import made
import pytest
import torch
from rich.console import Console
from test_batch import loader as whole_loader
from test_batch import rules

from shards.index import Address
from shards.order import Cursor
from shards.reader import Dataset
from shards.store import store_at, write
from shards.tolerance import Tolerance
from study.errors import UserError
from study.sections import TrainSpeed
from train.batch import Batch
from train.clip import create_model
from train.loader import Loader, trainable_samples
from train.loop import TrainResult, train

TWO_SCANS, FOUR_SCANS = "study0009", "study0003"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return made.dataset(tmp_path / "dataset", [made.study(i) for i in range(16)])


def damage(dataset: Path, *addresses: tuple[int, Address]) -> None:
    """Change the last byte of members."""
    for shard, address in addresses:
        path = dataset / f"{shard:05d}.tar"
        data = bytearray(path.read_bytes())
        data[address.offset + address.length - 1] ^= 1
        path.write_bytes(data)


def every_scan(dataset: Path, key: str) -> list[tuple[int, Address]]:
    ref = Dataset.open(dataset).find(key)
    return [(ref.shard, address) for address in ref.scans]


def take(loader: Loader, count: int) -> list[tuple[tuple[str, ...], Cursor, list[torch.Tensor]]]:
    """Keys, place, and pixels and tokens by study."""
    stream = loader.batches(Cursor())
    taken = []
    for batch in islice(stream, count):
        taken.append((batch.keys, batch.after, _parts(batch)))
    stream.close()
    return taken


def _parts(batch: Batch) -> list[torch.Tensor]:
    pixels = batch.studies.pixels.split(batch.studies.scans_per_study)
    tokens = (row[row != 0] for row in batch.tokens_BTL)
    return [torch.cat((p.flatten().long(), t)).clone() for p, t in zip(pixels, tokens, strict=True)]


@pytest.mark.parametrize("threads", [1, 4])
def test_corrupt_studies_leave_their_batches(dataset: Path, threads: int) -> None:
    whole = take(whole_loader(Dataset.open(dataset)), 6)
    damage(dataset, *every_scan(dataset, TWO_SCANS), *every_scan(dataset, FOUR_SCANS))
    opened = Dataset.open(dataset)
    tolerance = Tolerance(2, "train.max_corrupt", opened.path)
    samples, _ = trainable_samples(opened, "train", ["offline"], threads, tolerance)
    tokenizer = create_model(made.MODEL, made.GRID)[1]
    options = {"batch_size": 6, "threads": threads, "prefetch": 2, "tolerance": tolerance}
    left = take(Loader(opened, samples, tokenizer, rules(), **options), 6)  # type: ignore[arg-type]
    for (keys, after, parts), (keys_left, after_left, parts_left) in zip(whole, left, strict=True):
        stay = [i for i, key in enumerate(keys) if key not in (TWO_SCANS, FOUR_SCANS)]
        assert keys_left == tuple(keys[i] for i in stay)
        assert after_left == after
        assert all(torch.equal(parts[i], part) for i, part in zip(stay, parts_left, strict=True))
    assert {key for _, key in tolerance.found} == {TWO_SCANS, FOUR_SCANS}


def test_a_batch_without_any_left_is_passed_over(dataset: Path) -> None:
    opened = Dataset.open(dataset)
    keys = [ref.key for ref in opened.samples()]
    damage(
        dataset, *(scan for key in keys if key != TWO_SCANS for scan in every_scan(dataset, key))
    )
    tolerance = Tolerance(15, "train.max_corrupt", opened.path)
    samples, _ = trainable_samples(opened, "train", ["offline"], 2)
    tokenizer = create_model(made.MODEL, made.GRID)[1]
    options = {"batch_size": 2, "threads": 2, "prefetch": 2, "tolerance": tolerance}
    taken = take(Loader(opened, samples, tokenizer, rules(), **options), 3)  # type: ignore[arg-type]
    assert [keys for keys, _, _ in taken] == [(TWO_SCANS,)] * 3


def run(folder: Path, name: str, **settings: object) -> tuple[TrainResult, str]:
    console = Console(file=StringIO(), width=300)
    result = train(made.pipeline(folder, name, **settings), console=console)
    return result, console.file.getvalue()  # type: ignore[attr-defined]


def events(folder: Path, name: str, event: str) -> list[dict[str, object]]:
    lines = (folder / name / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def test_training_goes_on_without_them_up_to_the_limit(dataset: Path, tmp_path: Path) -> None:
    scans, ref = every_scan(dataset, FOUR_SCANS), Dataset.open(dataset).find(TWO_SCANS)
    damage(dataset, *scans, (ref.shard, ref.metadata))
    result, said = run(tmp_path, "run", max_corrupt=2)
    assert result.step == 6
    assert said.count("left out as corrupt: ") == 2
    assert "2 corrupt studies were left out" in said
    noted = events(tmp_path, "run", "train.corrupt")
    assert [line["key"] for line in noted] == [TWO_SCANS, FOUR_SCANS]
    assert noted[0]["member"] == f"{TWO_SCANS}.json"
    assert noted[1]["shard"] == "00000.tar"
    assert (noted[1]["member"], noted[1]["offset"]) in [(s.member, s.offset) for _, s in scans]
    assert events(tmp_path, "run", "train.stop")[0]["corrupt"] == 2
    again, _ = run(tmp_path, "again", max_corrupt=2)
    assert again.loss == result.loss
    with pytest.raises(UserError, match=r"2 samples, train\.max_corrupt allows 1"):
        run(tmp_path, "strict", max_corrupt=1)
    with pytest.raises(UserError, match=rf"{TWO_SCANS}\.json.*a sample, train\.max_corrupt"):
        run(tmp_path, "stricter")


@pytest.fixture
def far(dataset: Path) -> Iterator[str]:
    """The dataset in memory://."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    here, there = store_at(dataset), store_at("memory://host/dataset")
    for name in here.sizes():
        write(there, name, here.read(name))
    yield there.url
    memory.store.clear()


def test_training_from_afar_is_the_same_and_fetches_once(
    dataset: Path, far: str, tmp_path: Path
) -> None:
    near, said = run(tmp_path, "near", scans_per_study=8)  # all of them
    assert "fetched" not in said
    assert not (tmp_path / "near" / "cache").exists()
    pipeline = made.pipeline(tmp_path, "far", scans_per_study=8)
    pipeline = pipeline.model_copy(update={"dataset": far})
    console = Console(file=StringIO(), width=300)
    assert train(pipeline, console=console).loss == near.loss
    assert f"GB fetched from {far}, " in console.file.getvalue()  # type: ignore[attr-defined]
    counts = events(tmp_path, "far", "train.stop")[0]["fetched"]
    assert isinstance(counts, dict)
    assert counts["fetched_bytes"] <= Dataset.open(far).info.bytes
    assert counts["hits"] >= 40
    assert (tmp_path / "far" / "cache").is_dir()
    shutil.rmtree(tmp_path / "far")
    speed = TrainSpeed(log_every="1 step", cache=str(tmp_path / "kept"), cache_size="0GB")
    settings = pipeline.train.model_copy(update={"speed": speed})
    uncached = train(pipeline.model_copy(update={"train": settings}), console=console)
    assert uncached.loss == near.loss
    assert not (tmp_path / "kept").exists()
