"""Choices are pure functions of (seed, epoch, key), and the loader makes batches of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import made
import numpy as np
import pytest
import torch

from shards.order import Cursor
from shards.reader import Dataset
from study.errors import UserError
from study.sections import Train
from train.batch import Batch, Rules, Sample, choose
from train.clip import create_model, encoder_config
from train.loader import Loader, trainable_samples


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    studies = [made.study(i, sentences=i % 5 != 0) for i in range(20)]
    return Dataset.open(made.dataset(tmp_path_factory.mktemp("data"), studies))


def rules(**change: object) -> Rules:
    settings = {"model": made.MODEL, "steps": 1, "scans_per_study": 3, "patch_dropout": 0.5}
    return Rules.of(Train.model_validate(settings | change), encoder_config(made.MODEL, made.GRID))


def loader(dataset: Dataset, threads: int = 2, prefetch: int = 2) -> Loader:
    samples, _ = trainable_samples(dataset, "train", ["offline"], threads)
    tokenizer = create_model(made.MODEL, made.GRID)[1]
    return Loader(
        dataset, samples, tokenizer, rules(), batch_size=6, threads=threads, prefetch=prefetch
    )


def take(loader: Loader, count: int, start: Cursor = Cursor()) -> list[Batch]:
    stream = loader.batches(start)
    batches = [
        replace(batch, studies=replace(batch.studies, pixels=batch.studies.pixels.clone()))
        for batch in islice(stream, count)
    ]
    stream.close()
    return batches


def same(one: Batch, other: Batch) -> bool:
    a, b = one.studies, other.studies
    assert a.keep is not None
    assert b.keep is not None
    return (
        one.keys == other.keys
        and one.after == other.after
        and a.scans_per_study == b.scans_per_study
        and torch.equal(a.pixels, b.pixels)
        and torch.equal(a.keep, b.keep)
        and torch.equal(one.tokens_BTL, other.tokens_BTL)
    )


def test_choices_depend_on_seed_epoch_and_study_only(dataset: Dataset) -> None:
    samples, left_out = trainable_samples(dataset, "train", ["offline"], 1)
    assert (len(samples), left_out) == (16, 4)
    sample = next(s for s in samples if len(s.ref.scans) == 4)
    first, again = choose(sample, 0, rules()), choose(sample, 0, rules())
    assert first.texts == again.texts
    assert first.scans == again.scans
    np.testing.assert_array_equal(first.keep, again.keep)
    assert len(first.scans) == 3
    assert first.keep is not None
    assert first.keep.shape == (3, 4)
    assert all(len(set(row)) == 4 for row in first.keep.tolist())
    others = [choose(sample, epoch, rules()) for epoch in range(20)]
    assert len({other.scans for other in others}) > 1
    assert len({other.texts for other in others}) == 2
    assert all(text.startswith("This study shows: ") for o in others for text in o.texts)
    assert choose(sample, 0, rules(seed=1)).keep.tolist() != first.keep.tolist()  # type: ignore[union-attr]


def test_a_whole_report_has_all_sentences(dataset: Dataset) -> None:
    sample = trainable_samples(dataset, "train", ["offline"], 1)[0][0]
    text = choose(sample, 0, rules(text="report", prefix="")).texts[0]
    [sentences] = sample.sentences
    assert len(text) == len(" ".join(sentences))
    assert all(sentence in text for sentence in sentences)


def test_batches_hold_what_was_chosen(dataset: Dataset) -> None:
    samples = {s.ref.key: s for s in trainable_samples(dataset, "train", ["offline"], 1)[0]}
    for batch in take(loader(dataset), 2):
        assert len(batch.keys) == 6
        assert list(batch.studies.scans_per_study) == sorted(batch.studies.scans_per_study)
        row = 0
        for key, count in zip(batch.keys, batch.studies.scans_per_study, strict=True):
            for scan in choose(samples[key], 0, rules()).scans:
                stored = dataset.read_scan(samples[key].ref, scan)
                np.testing.assert_array_equal(batch.studies.pixels[row, 0].numpy(), stored)
                row += 1
            assert count <= 3
        assert row == batch.num_scans


def test_order_is_independent_of_threads_and_resumes_anywhere(dataset: Dataset) -> None:
    straight = take(loader(dataset, threads=1, prefetch=1), 6)
    threaded = take(loader(dataset, threads=4, prefetch=3), 6)
    assert all(same(a, b) for a, b in zip(straight, threaded, strict=True))
    resumed = take(loader(dataset), 3, start=straight[2].after)
    assert all(same(a, b) for a, b in zip(straight[3:], resumed, strict=True))


def test_every_study_comes_once_an_epoch(dataset: Dataset) -> None:
    keys = [key for batch in take(loader(dataset), 8) for key in batch.keys]
    assert sorted(keys) == sorted(3 * sorted(set(keys)))
    assert len(set(keys)) == 16


def test_variants_are_mixed_by_weight_among_those_that_a_study_has(dataset: Dataset) -> None:
    ref = trainable_samples(dataset, "train", ["offline"], 1)[0].refs[0]
    mixing = replace(rules(prefix=""), variant_weights=(1.0, 3.0, 5.0))
    both = Sample(ref, (("one",), ("two", "two again"), ()))
    drawn = [choose(both, epoch, mixing).texts[0][:3] for epoch in range(2000)]
    assert 0.70 < drawn.count("two") / len(drawn) < 0.80
    assert set(drawn) == {"one", "two"}
    assert choose(both, 5, mixing).texts == choose(both, 5, mixing).texts
    alone = Sample(ref, ((), (), ("three",)))
    assert {choose(alone, epoch, mixing).texts for epoch in range(50)} == {("three",)}


def test_a_mixture_needs_all_its_variants_and_studies_any_of_them(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"variant 'gpt' .*there are: offline"):
        trainable_samples(dataset, "train", ["offline", "gpt"], 1)
    assert Train(steps=1, variant={"offline": 1, "gpt": 3}).variants == {"offline": 1, "gpt": 3}
    assert Train(steps=1).variants == {"offline": 1.0}
    for wrong in ({}, "", {"offline": 0}, {"offline": "much"}):
        with pytest.raises(ValueError, match="variant"):
            Train.model_validate({"steps": 1, "variant": wrong})


def test_a_variant_that_is_not_there_is_named(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"variant 'gpt' .*there are: offline"):
        trainable_samples(dataset, "train", ["gpt"], 1)
