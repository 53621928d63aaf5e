"""Embeddings: every scan once, batches bounded, and a cache that notices what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_for_eval import MadeDataset, MadeModel, loaded, ref

from eval.cli import text_tower
from eval.embed import (
    Embeddings,
    Origin,
    choose_scans,
    embed_split,
    load_embeddings,
    plan_batches,
    save_embeddings,
    scans_sha256,
)
from shards.index import SampleRef
from study.errors import UserError
from study.sections import Model, Train
from train.clip import create_model

ORIGIN = Origin(checkpoint_sha256="a", scans_sha256="b", split="test", max_scans=64)


def embedded(
    counts: list[int], max_scans: int, batch_size: int
) -> tuple[Embeddings, MadeDataset, MadeModel]:
    dataset, model = MadeDataset(counts), MadeModel()
    embeddings = embed_split(
        dataset,
        list(dataset.samples("test")),
        loaded(model),
        max_scans=max_scans,
        batch_size=batch_size,
    )
    return embeddings, dataset, model


@pytest.mark.parametrize(
    ("num", "most", "expected"),
    [(3, 5, (0, 1, 2)), (5, 5, (0, 1, 2, 3, 4)), (6, 2, (1, 4)), (7, 1, (3,)), (5, 3, (0, 2, 4))],
)
def test_choose_scans(num: int, most: int, expected: tuple[int, ...]) -> None:
    assert choose_scans(num, most) == expected


@given(st.integers(1, 300), st.integers(1, 70))
def test_chosen_scans_are_distinct_ordered_and_even(num: int, most: int) -> None:
    chosen = choose_scans(num, most)
    assert len(chosen) == min(num, most)
    assert list(chosen) == sorted(set(chosen))
    assert chosen[0] >= 0
    assert chosen[-1] < num
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@given(st.lists(st.integers(1, 20), max_size=60), st.integers(1, 8), st.integers(1, 30))
def test_batches_hold_every_study_once_and_stay_in_bounds(
    counts: list[int], batch_size: int, max_scans: int
) -> None:
    batches = list(plan_batches(counts, batch_size, max_scans))
    assert sorted(row for batch in batches for row in batch) == list(range(len(counts)))
    for batch in batches:
        assert len(batch) <= batch_size
        assert len(batch) == 1 or sum(counts[row] for row in batch) <= max_scans


def test_rows_are_in_the_datasets_order_whatever_the_batches() -> None:
    counts = [1, 4, 2, 3, 1, 2, 5]
    one, dataset, _ = embedded(counts, max_scans=64, batch_size=1)
    many, _, model = embedded(counts, max_scans=64, batch_size=4)
    assert one.keys == many.keys == tuple(f"{i:032x}" for i in range(7))
    np.testing.assert_array_equal(one.features_NK, many.features_NK)
    angles = [np.arctan2(y, x) for x, y in many.features_NK]
    expected = [
        np.mean([10 * i + j for j in range(n)]) / 255 * np.pi / 2 for i, n in enumerate(counts)
    ]
    np.testing.assert_allclose(angles, expected, rtol=1e-5)
    assert sorted(dataset.reads) == [
        (f"{i:032x}", j) for i, n in enumerate(counts) for j in range(n)
    ]
    assert [sum(batch) for batch in model.batches] == [14, 4]


def test_max_scans_bounds_the_study_and_the_batch() -> None:
    embeddings, dataset, model = embedded([9, 2, 2, 9], max_scans=4, batch_size=8)
    assert embeddings.num_scans == (4, 2, 2, 4)
    assert len(dataset.reads) == 12
    assert max(sum(batch) for batch in model.batches) == 4


def test_several_image_tokens_give_the_first() -> None:
    """Models of the dual loss have a token for sentences and one for reports."""

    class Dual(MadeModel):
        def encode_image(self, image, normalize=False):  # type: ignore[no-untyped-def]
            first = super().encode_image(image, normalize)
            return first[:, None].repeat(1, 2, 1) * first.new_tensor([1.0, -1.0])[None, :, None]

    dataset, dual = MadeDataset([1, 2]), Dual()
    refs = list(dataset.samples("test"))
    both = embed_split(dataset, refs, loaded(dual), max_scans=8, batch_size=2)
    plain, _, _ = embedded([1, 2], 8, 2)
    np.testing.assert_array_equal(both.features_NK, plain.features_NK)


def test_saved_embeddings_come_back_equal(tmp_path: Path) -> None:
    embeddings, _, _ = embedded([2, 1, 3], max_scans=64, batch_size=2)
    file = tmp_path / "eval" / "embeddings_test.parquet"
    assert load_embeddings(file, ORIGIN) is None
    save_embeddings(file, embeddings, ORIGIN)
    back = load_embeddings(file, ORIGIN)
    assert back is not None
    assert (back.keys, back.patients, back.num_scans) == (
        embeddings.keys,
        embeddings.patients,
        embeddings.num_scans,
    )
    np.testing.assert_array_equal(back.features_NK, embeddings.features_NK)
    assert [f.name for f in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "change",
    [{"checkpoint_sha256": "x"}, {"scans_sha256": "x"}, {"split": "valid"}, {"max_scans": 8}],
)
def test_another_origin_is_not_served(tmp_path: Path, change: dict[str, Any]) -> None:
    embeddings, _, _ = embedded([1], max_scans=64, batch_size=2)
    file = tmp_path / "embeddings.parquet"
    save_embeddings(file, embeddings, ORIGIN)
    assert load_embeddings(file, replace(ORIGIN, **change)) is None


def test_a_damaged_cache_is_no_cache(tmp_path: Path) -> None:
    file = tmp_path / "embeddings.parquet"
    file.write_bytes(b"PAR1 and then nothing")
    assert load_embeddings(file, ORIGIN) is None


def test_a_dataset_of_another_grid_is_refused_before_encoding() -> None:
    odd = ref("k", "p", "test", 2, shape=(2, 4, 3))
    message = r"study k has scans .*\(2, 4, 3\).* trained on \(2, 4, 4\)"
    with pytest.raises(UserError, match=message):
        embed_split(MadeDataset([]), [odd], loaded(MadeModel()), max_scans=8, batch_size=2)


def test_scans_that_are_not_bytes_are_refused() -> None:
    made = ref("k", "p", "test", 1)
    odd = replace(made, scans=(replace(made.scans[0], dtype="uint16"),))
    with pytest.raises(UserError, match=r"study k has scans of uint16.*grid.dtype: uint8"):
        embed_split(MadeDataset([]), [odd], loaded(MadeModel()), max_scans=8, batch_size=2)


def test_the_digest_of_scans_follows_their_bytes_and_not_their_labels() -> None:
    two = ref("k", "p", "test", 2)
    relabelled = replace(two, metadata=replace(two.metadata, crc32c=1))
    rewritten = replace(two, scans=(two.scans[0], replace(two.scans[1], crc32c=1)))
    assert scans_sha256([two]) == scans_sha256([relabelled])
    assert scans_sha256([two]) != scans_sha256([rewritten])
    assert scans_sha256([two]) != scans_sha256([two, two])


def test_a_real_model_says_the_same_alone_and_in_a_batch(tmp_path: Path) -> None:
    """Our own encoder and text tower, with fresh weights, behind the functions that eval calls."""
    torch.manual_seed(0)
    grid = (8, 24, 24)
    model, tokenizer = create_model(Model(name="dicom2clip_tiny"), grid)
    real = SimpleNamespace(
        model=model, tokenizer=tokenizer, settings=Train(steps=1), grid=grid, step=0
    )

    class Noise(MadeDataset):
        def read_scan(self, ref: SampleRef, scan: int, out: np.ndarray) -> None:
            rng = np.random.default_rng([int(ref.key, 16), scan])
            out[:] = rng.integers(0, 256, size=grid, dtype=np.uint8)

    refs = [ref(f"{i:032x}", "p", "test", n, shape=grid) for i, n in enumerate([2, 1, 3, 2])]
    alone = embed_split(Noise([]), refs, real, max_scans=8, batch_size=1)
    together = embed_split(Noise([]), refs, real, max_scans=8, batch_size=4)
    np.testing.assert_allclose(alone.features_NK, together.features_NK, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(alone.features_NK, axis=1), 1, rtol=1e-5)

    text = text_tower(real)
    both = text.encode(["This study shows: a mass.", "No mass."])
    assert both.shape == (2, alone.features_NK.shape[1])
    np.testing.assert_allclose(text.encode(["No mass."])[0], both[1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, rtol=1e-5)
    assert text.scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert text.prefix == "This study shows: "
