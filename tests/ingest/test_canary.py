"""No string of a source gets into a dataset: canaries planted everywhere, none found.

One ingestion of studies of every kind with canaries in every element, name and report (`cage`); and
leaks made on purpose, which the same search must find.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cage import STUDY, build_cage, pipeline, run
from canaries import WORD, contents, found

from ingest.reports import labels_in
from ingest.scrub import Scrubbed
from shards import allowed, card, catalog, census, commit, cover
from shards.catalog import read_info
from shards.croissant import Beside
from shards.store import store_at
from study.errors import UserError
from study.ingest_sections import Columns

PSEUDONYM = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def cage(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Path:
    """Studies of every kind, and the dataset and the run that were made of them."""
    home = tmp_path_factory.mktemp(f"{WORD}cage")
    planted = build_cage(home)
    assert planted > 4000
    run(pipeline(home, home, scheduler, "zstd"))
    return home


@pytest.fixture(scope="module")
def small_cage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One study, not yet ingested."""
    home = tmp_path_factory.mktemp(f"{WORD}small")
    build_cage(home, small=True)
    return home


# -------------------------------------------------------------------------------- no canary


def test_the_sources_are_full_of_canaries_and_are_used(cage: Path) -> None:
    """Else the test below would show nothing."""
    info = read_info(cage / "dataset")
    assert info.num_studies == 4  # single-frame, enhanced, zip, NIfTI
    assert info.by_status == {"rejected": 1, "used": 4}
    texts = [text.decode() for where, text in contents(cage / "dataset") if "as text" in where]
    reports = [text for text in texts if "3.5 x 2.1 cm mass" in text]
    assert len(reports) == 2
    assert all(text.count("there is a 12 mm mass at L4-5") > 100 for text in reports)
    assert any('"labels": {"mass": 1.0}' in text for text in texts)
    assert any('"age_years": 90' in text for text in texts)


def test_no_canary_is_in_the_finished_dataset(cage: Path) -> None:
    assert found(cage / "dataset") == []


def test_every_value_of_the_finished_dataset_is_on_the_allow_list(cage: Path) -> None:
    dataset = cage / "dataset"
    facts = json.loads((dataset / "dataset.json").read_bytes())
    settings = facts.pop("settings")
    assert not list(allowed.misfits(facts, allowed.DATASET))
    assert not list(allowed.setting_misfits(settings))
    assert facts["name"] == "dataset"
    index = pq.read_table(dataset / "index.parquet").to_pylist()
    assert index
    assert not [m for row in index for m in allowed.misfits(row, allowed.INDEX)]
    rows: list[dict[str, Any]] = []
    for stats in commit.committed(dataset).values():
        record = json.loads((dataset / commit.stats_name(stats.shard)).read_bytes())
        assert not list(allowed.misfits(record, allowed.COMMIT))
        rows += pq.read_table(dataset / commit.parquet_name(stats.shard)).to_pylist()
    for row in rows:
        named = {name: dict(row[name] or ()) for name in ("labels", "num_sentences")}
        assert not list(allowed.misfits({**row, **named}, allowed.TABLE))
        assert PSEUDONYM.fullmatch(row["key"])
        assert PSEUDONYM.fullmatch(row["patient"])
    metas = [json.loads(d) for w, d in contents(dataset) if re.search(r"tar: \w+\.json$", w)]
    assert len(metas) == 4
    assert not [m for meta in metas for m in allowed.misfits(meta, allowed.STUDY)]
    assert all(PSEUDONYM.fullmatch(s["digest"]) for meta in metas for s in meta["scans"])
    facts["settings"] = settings
    done = commit.committed(dataset)
    table = (dataset / "index.parquet").read_bytes()
    parquet = "application/x-parquet"
    indexed = Beside("index.parquet", len(table), hashlib.sha256(table).hexdigest(), parquet)
    place = store_at(dataset)
    picture = cover.picture(place, census.survey(place, done).is_latest)
    for name, data in catalog.books_of(facts, done, indexed, picture).items():
        assert (dataset / name).read_bytes() == data, name
    sizes = json.loads((dataset / "sizes.json").read_bytes())
    assert all(re.fullmatch(r"\d{5}\.tar", name) for name in sizes)
    known = r"\d{5}(?:\.tar|\.parquet|_stats\.json)|dataset\.json|index\.parquet|sizes\.json|.*\.md"
    known += r"|croissant\.json|study\.schema\.json|preview\.png"
    assert all(re.fullmatch(known, p.name) for p in dataset.iterdir())


def test_the_readme_says_that_the_data_is_protected(cage: Path) -> None:
    text = (cage / "dataset" / card.README_FILE).read_text()
    for words in ("Protected data", "Direct identifiers", "faces", "text", "remain protected data"):
        assert words in text


def test_all_files_of_the_run_are_private(cage: Path) -> None:
    run_folder = cage / "run"
    paths = [run_folder, *run_folder.rglob("*")]
    assert len(paths) > 8
    for path in paths:
        wanted = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == wanted, path.name


def test_the_run_folder_keeps_what_the_dataset_lacks(cage: Path) -> None:
    """The table of keys is the way back."""
    keys = pq.read_table(cage / "run" / "keys.parquet").to_pylist()
    assert any(row["study_uid"].startswith(STUDY) for row in keys)
    assert all(PSEUDONYM.fullmatch(row["key"]) for row in keys)


# -------------------------------------------------------------------------------- keys


def _pseudonyms(dataset: Path) -> set[str]:
    text = b"\n".join(data for where, data in contents(dataset) if "values" in where).decode()
    return set(re.findall(r"\b[0-9a-f]{32}\b", text))


def test_keys_differ_between_project_keys_and_are_stable_under_one(
    tmp_path: Path, small_cage: Path, scheduler: str
) -> None:
    named = []
    for number, key in enumerate(("11" * 32, "22" * 32, "11" * 32)):
        home = tmp_path / str(number)
        (home / "run").mkdir(mode=0o700, parents=True)
        (home / "run" / "project.key").write_text(key)
        (home / "run" / "project.key").chmod(0o600)
        run(pipeline(small_cage, home, scheduler))
        named.append(_pseudonyms(home / "dataset"))
    assert len(named[0]) == 3  # study, patient, digest of the source
    assert named[0] == named[2]
    assert not named[0] & named[1]


# -------------------------------------------------------------------------------- leaks


def _no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowed, "refuse_misfits", lambda found: None)


def _leaky_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest import scanplan

    honest = scanplan.acquisition_facts
    monkeypatch.setattr(
        scanplan,
        "acquisition_facts",
        lambda image: {**honest(image), "series_description": image.series_description},
    )


def _leaky_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from shards import sidecar

    honest = sidecar.used_row
    monkeypatch.setattr(
        sidecar,
        "used_row",
        lambda meta, members: {**honest(meta, members), "reason": f"/data/{WORD}/x.dcm"},
    )


def _leaky_scrub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.plan.scrubbed", lambda text, *_: Scrubbed(text))


def _leaky_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns alone do not find the header's own values."""
    monkeypatch.setattr("ingest.scrub.seed_spans", lambda text, identifying: iter(()))


def _shallow_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do those at the top of the header alone."""
    monkeypatch.setattr("ingest.crawl.deepen", lambda rows, _unusual: rows)


def _leaky_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shards.catalog.NAMELESS", f"{WORD}19610315")


def _leaky_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.ready.public_settings", lambda settings, key: dict(settings))


@pytest.mark.parametrize(
    "leak",
    [
        _leaky_facts,
        _leaky_rows,
        _leaky_scrub,
        _leaky_seeds,
        _shallow_seeds,
        _leaky_name,
        _leaky_settings,
    ],
)
def test_the_search_finds_a_leak(
    tmp_path: Path, small_cage: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch, leak: Any
) -> None:
    _no_gate(monkeypatch)
    leak(monkeypatch)
    run(pipeline(small_cage, tmp_path, scheduler))
    assert found(tmp_path / "dataset")


@pytest.mark.parametrize("leak", [_leaky_facts, _leaky_rows, _leaky_name])
def test_the_gate_refuses_a_leak(
    tmp_path: Path, small_cage: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch, leak: Any
) -> None:
    leak(monkeypatch)
    with pytest.raises(
        (ValueError, UserError), match="not on the allow-list of a dataset"
    ) as error:
        run(pipeline(small_cage, tmp_path, scheduler))
    assert WORD not in str(error.value)
    assert not (tmp_path / "dataset" / "dataset.json").exists()


@pytest.mark.parametrize("column", ["1.2.826.0.1.99.5", "CANARY 1234567", "canary@example.org"])
def test_a_label_that_is_no_word_is_refused(tmp_path: Path, column: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(f"StudyInstanceUID,{column}\n{STUDY}.0,1\n")
    with pytest.raises(UserError, match="cannot be the name of a label"):
        list(labels_in([str(file)], Columns()))


def test_what_the_search_would_miss_is_not_much(tmp_path: Path) -> None:
    """The marks are found in every encoding and case, and in what is packed."""
    (tmp_path / "a.json").write_text(json.dumps({"x": "C\u0041NARY"}))
    (tmp_path / "b.bin").write_bytes("xCanaryx".encode("utf-16-be"))
    (tmp_path / "c.txt").write_text("born 1807-03-15")
    (tmp_path / "d.txt").write_text("nothing")
    assert {hit.split(":")[0] for hit in found(tmp_path)} >= {"a.json", "b.bin", "c.txt"}
    assert not [hit for hit in found(tmp_path) if hit.startswith("d.txt")]
