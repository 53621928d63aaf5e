"""Shared by all tests: where the real scanner data is, and how a test says that it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

import train.torchvision_ops  # noqa: F401  (before a test imports open_clip or timm)

# CI draws the same examples every time; elsewhere they are drawn anew. A loaded machine is no bug.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with `dicom/`, `parity/`, `reports/`; where it is absent the test skips, saying so."""
    folder = Path(os.environ.get("DICOM2CLIP_REAL_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "dicom" / "expected_volumes.json").exists():
        pytest.skip(f"no real scanner data in {folder} (set DICOM2CLIP_REAL_DATA)")
    return folder
