import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from damage import Damage, damages, overlap, payloads
from fatal import environment
from hypothesis import HealthCheck, given, settings
from made_studies import key_of, make_dataset, study_of
from test_verify import FILES, SOAK
from typer.testing import CliRunner

from shards import commit
from shards.catalog import finish_dataset, read_info
from shards.cli import app
from shards.reader import CorruptSample, Dataset
from shards.repair import FACTS_FILE, repair
from shards.store import store_at
from shards.verify import verify
from shards.writer import ShardWriter
from study.config import fingerprint
from study.errors import UserError
from study.records import Study

SPLITS = ("train", "valid", "test")
SETTINGS = {"grid": {"depth": 4}}


def make(folder: Path, compression: str) -> None:
    make_dataset(folder, compression=compression)
    with ShardWriter(folder, 2, compression, content="content 2") as writer:
        writer.add(replace(study_of(0), labels={"new": 1.0}))  # supersedes
    finish_dataset(
        folder,
        fingerprint=fingerprint(SETTINGS),
        provenance={"numpy": "2", "python": "3.11"},
        settings=SETTINGS,
        key_fingerprint="ab12",
        name="brains",
    )


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for compression in ("none", "zstd"):
        made[compression] = tmp_path_factory.mktemp(compression) / "data"
        make(made[compression], compression)
    return made


@pytest.fixture
def dataset(intact: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(intact["none"], tmp_path / "data")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def studies(folder: Path) -> dict[str, Study]:
    opened = Dataset.open(folder)
    return {ref.key: opened.read_study(ref) for ref in opened.samples()}


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


def is_clean(folder: Path) -> bool:
    return verify(folder).problems == ()


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_an_intact_dataset_keeps_every_byte(intact: dict[str, Path], compression: str) -> None:
    before = contents(intact[compression])
    done = repair(intact[compression])
    assert (done.problems, done.done, done.lost) == ((), (), ())
    assert contents(intact[compression]) == before


@pytest.mark.slow
@settings(max_examples=15 * SOAK, suppress_health_check=list(HealthCheck))
@given(
    some=st.lists(
        damages([*FILES, "00002.tar", "00002.parquet"], ("flip", "truncate", "remove", "zero")),
        min_size=1,
        max_size=3,
    )
)
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_whatever_happened_what_is_undamaged_is_read_again(
    intact: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    compression: str,
    some: list[Damage],
) -> None:
    original = intact[compression]
    expected, places = studies(original), payloads(original)
    folder = shutil.copytree(original, tmp_path_factory.mktemp("damaged") / "data")
    done = [(one.file, one.do(folder)) for one in some]
    if repair(folder, dry_run=True).problems:
        repair(folder)
    assert is_clean(folder)
    after = contents(folder)
    assert repair(folder).done == ()
    assert contents(folder) == after
    found = studies(folder)
    old = {**expected, key_of(0): study_of(0)}
    for key, study in found.items():
        assert study in (expected[key], old[key])  # the superseded one, where the newer is lost
    for (tar, key), spans in places.items():
        hits = [hit for file, hit in done if file == tar]
        witnesses = {tar.replace(".tar", ".parquet"), "index.parquet"}
        is_blind = bool(hits) and witnesses <= {one.file for one in some}
        if not is_blind and not any(overlap(hit, span) for hit in hits for span in spans):
            assert found[key] == expected[key]


def test_a_bad_sample_goes_into_quarantine_and_is_counted(dataset: Path, tmp_path: Path) -> None:
    before = (dataset / "00000.tar").read_bytes()
    places = payloads(dataset)["00000.tar", key_of(1)]
    flip(dataset / "00000.tar", places[1].start + 200)
    done = repair(dataset)
    assert done.quarantine == str(dataset / "quarantine")
    assert [line for line in done.lost if "1 samples" in line]
    assert is_clean(dataset)
    info = read_info(dataset)
    assert info.by_status == {"used": 5, "superseded": 1, "rejected": 3}
    assert info.by_reason == {"DAMAGED": 1, "NO_SCANS": 2}
    assert key_of(1) not in studies(dataset)
    kept, text = sorted((dataset / "quarantine").iterdir())
    start = places[0].start - 512
    assert kept.read_bytes() != before[start : start + kept.stat().st_size]
    assert kept.read_bytes()[:2048] == before[start : start + 2048]
    assert f"{key_of(1)}.s00.npy, payload: crc32c" in text.read_text()
    stats = commit.committed(dataset)[0]
    assert (stats.count, stats.successes, stats.content) == (4, 2, commit.REPAIRED)
    assert set(Dataset.open(dataset).table()["reason"].to_pylist()) == {"", "NO_SCANS", "DAMAGED"}


@pytest.mark.parametrize("part", ["header", "padding", "end"])
def test_what_surrounds_the_payloads_is_put_right_byte_by_byte(dataset: Path, part: str) -> None:
    before = contents(dataset)
    places = payloads(dataset)["00000.tar", key_of(1)]
    at = {"header": places[1].start - 400, "padding": places[0].stop + 3, "end": -700}[part]
    flip(dataset / "00000.tar", at)
    done = repair(dataset)
    assert done.lost == ()
    after = contents(dataset)
    assert {name: after[name] for name in after if not name.startswith("quarantine")} == before
    assert bool(done.quarantine) == (part == "end")  # it could have been a member's


@pytest.mark.parametrize("name", [n for n in FILES if not n.endswith(".tar")])
@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_any_book_is_written_again_as_it_was(dataset: Path, name: str, harm: str) -> None:
    before = contents(dataset)
    Damage(harm, name, 0.4, 4).do(dataset)
    done = repair(dataset)
    assert is_clean(dataset)
    if (name, harm) == ("dataset.json", "remove") or name in ("00000.parquet", "00001.parquet"):
        assert done.lost  # settings, or which studies were rejected
    else:
        assert done.lost == ()
        assert essence(dataset) == {n: data for n, data in before.items() if n in essence(dataset)}
        assert commit.committed(dataset).keys() == {0, 1, 2}


def test_a_lost_record_is_found_again_in_the_table(dataset: Path) -> None:
    before = commit.committed(dataset)[1]
    (dataset / "00001_stats.json").unlink()
    repair(dataset)
    after = commit.committed(dataset)[1]
    unsealed = {"sha256": "", "seconds": 0.0}
    assert after.model_copy(update=unsealed) == before.model_copy(update=unsealed)


def test_a_lost_table_without_rejections_is_made_from_the_tar(dataset: Path) -> None:
    before = contents(dataset)
    (dataset / "00002.parquet").unlink()
    assert repair(dataset).lost == ()
    assert contents(dataset) == before


def test_a_damaged_dataset_json_keeps_what_is_told_twice(dataset: Path) -> None:
    before = contents(dataset)
    path = dataset / "dataset.json"
    path.write_text(path.read_text().replace('"num_scans": 12', '"num_scans": 19'))
    done = repair(dataset)
    assert done.lost == ()
    assert contents(dataset) == before
    path.write_text(path.read_text().replace('"depth": 4', '"depth": 5'))
    lost = repair(dataset).lost
    assert len(lost) == 1
    assert "settings" in lost[0]
    assert "dicom2clip run" in lost[0]
    info = read_info(dataset)
    assert (info.name, info.key_fingerprint, info.settings) == ("brains", "ab12", {})


def test_a_missing_tar_is_said_and_its_studies_are_rejected(dataset: Path) -> None:
    (dataset / "00001.tar").unlink()
    done = repair(dataset)
    assert done.lost == ("00001.tar: it is gone, and 3 samples with it",)
    assert is_clean(dataset)
    assert read_info(dataset).by_reason == {"DAMAGED": 3, "NO_SCANS": 2}
    assert len(studies(dataset)) == 3


def test_a_dry_run_writes_nothing(dataset: Path) -> None:
    flip(dataset / "00000.tar", 700)
    (dataset / "sizes.json").unlink()
    before = contents(dataset)
    planned = repair(dataset, dry_run=True)
    assert contents(dataset) == before
    assert repair(dataset) == planned


def test_quarantine_may_lie_elsewhere_and_a_dataset_at_a_url(dataset: Path, tmp_path: Path) -> None:
    flip(dataset / "00000.tar", 700)
    repair(dataset, aside=tmp_path / "aside")
    assert not (dataset / "quarantine").exists()
    assert len(list((tmp_path / "aside").iterdir())) == 2
    far = store_at(f"memory://{tmp_path.name}/data")
    make_dataset(far)  # type: ignore[arg-type]
    far.remove("index.parquet")
    data = bytearray(far.read("00000.tar"))
    data[700] ^= 1
    new = far.create("00000.tar")
    new.stream.write(bytes(data))
    new.publish()
    new.discard()
    repair(far)
    assert verify(far).problems == ()
    assert len(store_at(f"{far.url}/quarantine").sizes()) == 2


def test_left_over_files_are_removed(dataset: Path) -> None:
    before = contents(dataset)
    (dataset / ".00004.tar.abc.tmp").write_text("half")
    (dataset / "notes.txt").write_text("of the user")
    repair(dataset)
    assert contents(dataset) == {**before, "notes.txt": b"of the user"}


def test_shards_that_make_no_dataset_are_the_users_error(dataset: Path) -> None:
    with ShardWriter(dataset, 3, "none") as writer:
        writer.add(replace(study_of(9, split="test"), patient=study_of(1).patient))
    with pytest.raises(UserError, match="more than one split"):
        repair(dataset)


def test_the_command(dataset: Path) -> None:
    flip(dataset / "00000.tar", 700)
    planned = CliRunner().invoke(app, ["repair", str(dataset), "--dry-run"])
    assert "would do: " in planned.output
    done = CliRunner().invoke(app, ["repair", str(dataset), "--json"])
    assert done.exit_code == 3
    facts = json.loads(done.output)
    assert facts["problems"][0]["member"] == f"{key_of(0)}.json"
    assert facts["quarantine"] == str(dataset / "quarantine")
    again = CliRunner().invoke(app, ["repair", str(dataset)])
    assert (again.exit_code, again.output) == (0, "nothing to do: the dataset is intact\n")


KILLED = """
import os, sys
from pathlib import Path
from fatal import die_at
from shards.repair import repair

for folder in sorted(Path(sys.argv[1]).iterdir()):
    child = os.fork()
    if not child:
        die_at(int(folder.name))
        repair(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(folder.name, os.WIFSIGNALED(status))
"""
STEPS = 80
"""More than the calls to the file system that the repair below makes."""


@pytest.mark.slow
def test_killed_before_any_step_the_next_repair_goes_on(dataset: Path, tmp_path: Path) -> None:
    flip(dataset / "00000.tar", payloads(dataset)["00000.tar", key_of(1)][1].start + 200)
    (dataset / "00002_stats.json").unlink()
    steps = range(STEPS) if SOAK > 1 else range(0, STEPS, 9)
    for step in steps:
        shutil.copytree(dataset, tmp_path / "killed" / f"{step:03d}")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "killed"],
        check=True,
        env=environment(),
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert any(line.endswith("False") for line in killed), "STEPS are too few"
    assert len([line for line in killed if line.endswith("True")]) > len(steps) // 3
    repair(dataset)
    expected = essence(dataset)
    sound = studies(dataset)
    for step in steps:
        folder = tmp_path / "killed" / f"{step:03d}"
        if (folder / "dataset.json").exists() and (folder / FACTS_FILE).exists():
            opened = Dataset.open(folder)
            for ref in opened.samples():
                if ref.key == key_of(1):  # nothing was mended yet
                    with pytest.raises(CorruptSample):
                        opened.read_study(ref)
                else:
                    assert opened.read_study(ref) == sound[ref.key]
        repair(folder)
        assert essence(folder) == expected, step
        assert is_clean(folder)


def essence(folder: Path) -> dict[str, bytes]:
    """All that does not tell how long something took, or what was known of damage."""
    return {
        name: data
        for name, data in contents(folder).items()
        if not name.endswith(("_stats.json", ".txt"))
    }
