import json
from pathlib import Path

import pytest
from made_studies import key_of, make_dataset
from PIL import Image
from typer.testing import CliRunner

from shards.cli import app
from shards.reader import Dataset
from study.errors import UserError


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    make_dataset(tmp_path / "data")
    return tmp_path / "data"


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_ls(dataset: Path) -> None:
    text = run("ls", dataset, "--split", "valid")
    assert text.count("valid") == 2
    assert "2 offline" in text
    assert run("ls", dataset, "--limit", 1).endswith("1 of 6 studies\n")
    rows = [json.loads(line) for line in run("ls", dataset, "--json").splitlines()]
    assert [row["key"] for row in rows] == [key_of(n) for n in range(6)]
    assert rows[0]["windows"] == ["percentile"]
    rejected = [
        json.loads(line) for line in run("ls", dataset, "--rejected", "--json").splitlines()
    ]
    assert [row["reason"] for row in rejected] == ["NO_SCANS"] * 2
    assert "NO_SCANS" in run("ls", dataset, "--rejected")


def test_info(dataset: Path) -> None:
    assert "by_split: train" in run("info", dataset)
    assert json.loads(run("info", dataset, "--json"))["num_studies"] == 6


def test_show(dataset: Path) -> None:
    text = run("show", dataset, key_of(4))
    for word in (key_of(4), "No midline shift.", "4x6x5", "0 to 812.5", "GANTRY_TILT"):
        assert word in text
    assert json.loads(run("show", dataset, key_of(4), "--json"))["shard"] == 1


def test_preview(dataset: Path, tmp_path: Path) -> None:
    run("preview", dataset, "-o", tmp_path / "sheet.png", "--limit", 2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 500
    run("preview", dataset, key_of(1), "--output", tmp_path / "sheet.html")
    assert key_of(1) in (tmp_path / "sheet.html").read_text()
    for wrong in ("sheet.gif", "nowhere/sheet.png"):
        with pytest.raises(UserError, match="--output"):
            run("preview", dataset, "-o", tmp_path / wrong)


def test_verify(dataset: Path) -> None:
    assert "no problems" in run("verify", dataset)
    data = bytearray((dataset / "00001.tar").read_bytes())
    data[Dataset.open(dataset).find(key_of(3)).scans[1].offset] ^= 1
    (dataset / "00001.tar").write_bytes(bytes(data))
    found = json.loads(run("verify", dataset, "--json", code=3))["problems"]
    assert [(p["where"], p["member"]) for p in found] == [("00001.tar", f"{key_of(3)}.s01.npy")]


def test_a_wrong_path_is_the_users_error(tmp_path: Path) -> None:
    for command in (["ls"], ["info"], ["show", "0"], ["preview"], ["verify"]):
        with pytest.raises(UserError, match="there is no folder"):
            run(command[0], tmp_path / "nowhere", *command[1:])
