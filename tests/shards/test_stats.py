import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_studies import key_of, make_dataset, study_of
from PIL import Image
from test_shards_cli import run

from shards import stats
from shards.reader import Dataset
from shards.tally import Tally
from shards.writer import ShardWriter, finish_dataset
from study.errors import UserError
from study.records import Reason, Report, Study


def finished(folder: Path, *shards: list[Study]) -> Dataset:
    for number, studies in enumerate(shards):
        with ShardWriter(folder, number, "none") as writer:
            for study in studies:
                writer.add(study)
    finish_dataset(folder, fingerprint="f" * 64, provenance={}, settings={})
    return Dataset.open(folder)


def test_counts_of_a_made_dataset(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    facts = stats.gather(Dataset.open(tmp_path)).facts()
    assert facts["studies"] == {"train": 2, "valid": 2, "test": 2} == facts["patients"]
    assert facts["scans"] == {"train": 4, "valid": 4, "test": 4}
    assert facts["rejected"] == {"NO_SCANS": 2}
    assert facts["windows"] == {"MR percentile": 12}
    assert facts["planes"] == {"axial": 12}
    assert facts["flags"] == {"GANTRY_TILT": 6}
    assert facts["scans_a_study"]["max"] == 2
    assert facts["source_spacing_mm_H"] == {
        "count": 12, **dict.fromkeys(("mean", "min", "p5", "median", "p95", "max"), 0.9)
    }  # fmt: skip
    assert facts["stored_spacing_mm_D"]["median"] == 5
    assert facts["bytes_arrays"] == 12 * 4 * 6 * 5
    assert facts["bytes_stored"] > facts["bytes_arrays"]
    assert facts["sentences"]["offline"]["a_study"]["mean"] == 2
    assert facts["sentences"]["offline"]["words"]["max"] == 3  # No midline shift.
    assert facts["labels"]["mass"] == {
        "positive": 3, "negative": 3, "uncertain": 0, "prevalence": 0.5
    }  # fmt: skip
    histogram = facts["histograms_of_all_splits"]["MR percentile"]
    assert sum(histogram) == facts["bytes_arrays"]
    assert facts["duplicates"] == [] == facts["unreadable"]


def test_a_split_alone(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    facts = stats.gather(Dataset.open(tmp_path), "valid").facts()
    assert facts["studies"] == {"valid": 2}
    assert facts["rejected"] == {}
    assert facts["windows"] == {"MR percentile": 4}
    assert facts["labels"]["mass"]["positive"] == 1


def test_a_superseded_sample_does_not_count(tmp_path: Path) -> None:
    old = study_of(1, scans=3)
    dataset = finished(tmp_path, [old, study_of(2)], [study_of(1, scans=1)])
    facts = stats.gather(dataset).facts()
    assert facts["scans"] == {"train": 3}
    assert facts["scans_a_study"]["count"] == 2
    assert facts["windows"] == {"MR percentile": 3}
    assert facts["duplicates"] == []


def test_duplicates_by_source_and_by_pixels(tmp_path: Path) -> None:
    one, two, three = (study_of(n, scans=2) for n in (1, 2, 3))
    copied = replace(one.scans[0], digest="0c")  # the pixels of one, from another source
    two = replace(two, split="test", scans=(two.scans[0], copied))
    other = replace(three.scans[0], array=three.scans[0].array + 1, digest=one.scans[1].digest)
    three = replace(three, scans=(other, *three.scans))  # the source of one, other pixels
    within = replace(study_of(4), scans=(study_of(4).scans[0],) * 3)
    found = stats.gather(finished(tmp_path, [one, two], [three, within])).duplicates
    assert found is not None
    pixels = next(shared for shared in found if shared.keys == (key_of(1), key_of(2)))
    assert (pixels.same_source, pixels.same_pixels) == (0, 1)
    assert pixels.splits == ("test", "train")
    assert pixels.num_patients == 2
    source = next(shared for shared in found if shared.keys == (key_of(1), key_of(3)))
    assert (source.same_source, source.same_pixels) == (1, 0)
    assert len(found) == 2  # scans of one study are no duplicates


def test_equal_checksums_are_candidates_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = finished(tmp_path, [study_of(1), study_of(2)])
    monkeypatch.setattr(
        "shards.same_pixels.ScanTable.same_member", lambda self: iter([[(0, 0), (1, 0)]])
    )
    assert stats.gather(dataset).duplicates == []


def test_uncertain_and_missing_labels(tmp_path: Path) -> None:
    values: list[dict[str, float]] = [{"a": 1.0, "b": 0.0}, {"a": 0.5}, {}]
    made = [replace(study_of(n), labels=labels) for n, labels in enumerate(values)]
    labels = stats.gather(finished(tmp_path, made)).facts()["labels"]
    assert labels == {
        "a": {"positive": 1, "negative": 0, "uncertain": 1, "prevalence": 1.0},
        "b": {"positive": 0, "negative": 1, "uncertain": 0, "prevalence": 0.0},
    }


def test_studies_without_scans_or_sentences(tmp_path: Path) -> None:
    bare = replace(study_of(1), scans=(), report=Report(), labels={}, age_years=None)
    facts = stats.gather(finished(tmp_path, [bare])).facts()
    assert facts["studies"] == {"train": 1}
    assert facts["sentences"] == {}
    with ShardWriter(tmp_path / "none", 0, "none") as writer:
        writer.reject(key_of(1), key_of(2), "train", Reason.NO_SCANS)
    assert stats.gather(finished(tmp_path / "none")).facts()["studies"] == {}


def test_the_command(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    text = run("stats", tmp_path / "data", "--plot", tmp_path / "sheet.png")
    for words in ("MR percentile", "words a sentence, offline", "0.500 positive", "0 groups"):
        assert words in text
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 10
    facts = json.loads(run("stats", tmp_path / "data", "--json", "--tables-only"))
    assert facts["duplicates"] is None
    assert facts["sentences"] == {}
    for wrong in ("sheet.svg", "nowhere/sheet.png"):
        with pytest.raises(UserError, match="--plot"):
            run("stats", tmp_path / "data", "--plot", tmp_path / wrong)


def test_a_broken_member_is_told(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    data = bytearray((tmp_path / "00001.tar").read_bytes())
    data[Dataset.open(tmp_path).find(key_of(3)).metadata.offset] ^= 1
    (tmp_path / "00001.tar").write_bytes(bytes(data))
    assert f"{key_of(3)}.json" in run("stats", tmp_path, code=3)


def test_charts_of_many_names_and_of_nothing(tmp_path: Path) -> None:
    from shards.cli_stats import draw

    labels = {f"finding {n}": 1.0 for n in range(30)}
    made = [replace(study_of(n), labels=labels) for n in range(3)]
    draw(stats.gather(finished(tmp_path / "many", made))).save(tmp_path / "many.png")
    draw(stats.gather(finished(tmp_path / "none"))).save(tmp_path / "none.png")


@given(st.lists(st.lists(st.integers(-1000, 1000), max_size=20), max_size=5))
def test_a_tally_is_what_numpy_says(parts: list[list[int]]) -> None:
    tally = Tally()
    for part in parts:
        tally.add(part)
    every = np.array([value for part in parts for value in part], dtype=float)
    summary = tally.summary()
    assert summary["count"] == len(every) == len(tally)
    if len(every):
        assert summary["mean"] == pytest.approx(every.mean(), abs=1e-5)
        for name, share in (("min", 0.0), ("p5", 0.05), ("median", 0.5), ("max", 1.0)):
            expected = np.quantile(every, share, method="inverted_cdf")
            assert summary[name] == expected


def test_a_tally_rounds_and_skips_what_is_no_number() -> None:
    tally = Tally(0.01)
    tally.add([0.899999, 0.9, float("nan")])
    assert tally.summary()["max"] == 0.9
    assert len(tally) == 2
