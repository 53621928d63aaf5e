"""What shapes a dataset, and so may not change from run to run."""

from __future__ import annotations

import pytest

from ingest.refusals import SHAPING, shaping_settings
from study.config import Pipeline, fingerprint
from study.ingest_sections import Ingest, VolumeFiles

MAY_CHANGE = {
    "source",
    "reports",
    "labels",
    "report_source",
    "several_reports",
    "summarizers",
    "labelers",
    "columns",
    "max_unpacked",
    "speed",
}
"""Where things are, tables, sentences and labels whose contents count themselves, and speed."""


def of(**settings: object) -> str:
    pipeline = Pipeline(
        name="p",
        run="run",
        dataset="dataset",
        ingest=Ingest(**settings),  # type: ignore[arg-type]
    )
    return fingerprint(shaping_settings(pipeline))


def test_every_setting_of_ingestion_shapes_or_may_change() -> None:
    assert set(Ingest.model_fields) == SHAPING | MAY_CHANGE
    assert not SHAPING & MAY_CHANGE


@pytest.mark.parametrize(
    "changed",
    [
        {"modality": "CT"},
        {"pattern": "(?P<study>a)"},
        {"npz_key": "volume"},
        {"npz_spacing_mm": (1.0, 1.0, 1.0)},
    ],
)
def test_what_volume_files_are_taken_for_shapes_arrays_keys_and_splits(changed: object) -> None:
    assert of(volume_files=VolumeFiles(**changed)) != of()  # type: ignore[arg-type]


def test_where_and_how_fast_does_not_shape() -> None:
    assert of(source="elsewhere", reports="r.csv", max_unpacked="1GB") == of()
