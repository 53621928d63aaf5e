"""Imports point down only: study <- shards <- ingest, study <- shards <- train <- eval."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "study": {"study"},
    "shards": {"study", "shards"},
    "ingest": {"study", "shards", "ingest"},
    "train": {"study", "shards", "train"},
    "eval": {"study", "shards", "train", "eval"},
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base"}


def imported(file: Path) -> set[str]:
    """Top-level names of all modules that a file imports, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_down(folder: str) -> None:
    files = sorted((REPOSITORY / folder).rglob("*.py"))
    assert files
    for file in files:
        above = (imported(file) & (set(MAY_IMPORT) | {"dicom2clip"})) - MAY_IMPORT[folder]
        assert not above, f"{file.relative_to(REPOSITORY)} imports {above}"
        assert file.stem not in FORBIDDEN_NAMES
        assert "webdataset" not in imported(file) or folder != "ingest"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_architecture_names_every_file(folder: str) -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    section = text.split(f"## {folder}/", 1)[1].split("\n## ", 1)[0]
    files = {file.stem for file in (REPOSITORY / folder).glob("*.py")} - {"__init__"}
    missing = sorted(name for name in files if f"`{name}`" not in section)
    assert not missing
