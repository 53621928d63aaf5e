"""What a job refuses before it writes: folders that mix, other settings, another key.

In: a `Pipeline` and what an earlier run left. Out: nothing, or a `UserError` that says what differs
and what to do. The idea: a dataset is made with one set of settings under one key, and what is
written stays as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ingest import answers
from ingest.allowlist import public_settings
from shards.catalog import is_finished, read_info
from shards.store import LocalStore, Store, store_at
from shards.writer import committed
from study import pseudonyms
from study.config import Pipeline
from study.errors import UserError

SETTINGS_FILE = "settings.json"
"""In the run folder: the settings that shape the dataset, as they are."""
WHICH_STUDIES = {
    "study_dates",
    "study_uids",
    "study_uids_file",
    "accession_numbers",
    "accession_numbers_file",
}
"""Of `ingest.select`: like the source, they may grow from run to run, and they identify people, so
that they have no place in a dataset's settings."""
SHAPING = {
    "select",
    "rules",
    "grid",
    "intensity",
    "volume_files",
    "without_report",
    "presidio",
    "presidio_model",
    "valid_fraction",
    "test_fraction",
}
"""Of `ingest`. The others are where things are, tables whose contents count, and speed."""


def shaping_settings(pipeline: Pipeline) -> dict[str, Any]:
    """The settings that shape what is in a dataset: no paths, nothing that only changes speed."""
    chosen = pipeline.ingest.model_dump(
        mode="json", include=SHAPING, exclude={"select": WHICH_STUDIES}
    )
    chosen |= answers.shaping(pipeline.ingest)
    return {"ingest": chosen, "shards": pipeline.shards.model_dump(mode="json")}


def refuse_mixed_folders(pipeline: Pipeline) -> None:
    """Refuse the run within the dataset, either within the source, or a dataset in a folder that
    holds something else."""
    run, place = Path(pipeline.run).resolve(), store_at(pipeline.dataset)
    sources = [Path(source).resolve() for source in pipeline.ingest.source]
    pairs = [("run and ingest.source", run, source) for source in sources]
    if isinstance(place, LocalStore):
        dataset = place.folder.resolve()
        pairs += [("dataset and ingest.source", dataset, source) for source in sources]
        pairs += [("run and dataset", run, dataset)]
    for name, one, other in pairs:
        if one == other or one in other.parents or other in one.parents:
            raise UserError(f"{name} must be apart; found {one} and {other}")
    ours = (run / SETTINGS_FILE).exists() or is_finished(place)
    if not ours and _holds_something(place):
        raise UserError(f"dataset: {place.url} holds other files; give a new or empty folder")


def _holds_something(place: Store) -> bool:
    if isinstance(place, LocalStore):
        return place.exists() and any(place.folder.iterdir())
    return bool(place.sizes())


def refuse_other_settings(dataset: Store, run: Path, shaping: dict[str, Any]) -> None:
    """A dataset is made with one set of settings; a run that was begun with others is refused."""
    found = differences(dataset, run, shaping)
    if found:
        lines = "\n".join(f"  {key}: {old!r} there, {new!r} now" for key, old, new in found)
        raise UserError(
            f"{dataset.url} was made with other settings:\n{lines}\n"
            "Put these back, or write a new version beside it with --new-version."
        )


def differences(dataset: Store, run: Path, shaping: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, value there and value now of settings other than those that a dataset was made with."""
    finished = is_finished(dataset)
    if (run / SETTINGS_FILE).exists() and (finished or committed(dataset)):
        return _differences(json.loads((run / SETTINGS_FILE).read_text()), shaping)
    if finished and (run / pseudonyms.KEY_FILE).exists():
        key = pseudonyms.project_key(run / pseudonyms.KEY_FILE)
        return _differences(read_info(dataset).settings, public_settings(shaping, key))
    return []  # nothing is there, or it was made under another key, which is refused later


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    old, new = (json.loads(json.dumps(value)) for value in (old, new))
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(prefix, old, new)]
    found = []
    for key in sorted(old.keys() | new.keys()):
        found += _differences(old.get(key), new.get(key), f"{prefix}.{key}".lstrip("."))
    return found


def refuse_other_key(dataset: Store, key: bytes) -> None:
    """Under another key every pseudonym is another one."""
    if is_finished(dataset):
        there = read_info(dataset).key_fingerprint
        if there and there != pseudonyms.key_fingerprint(key):
            raise UserError(
                f"{dataset.url} was made under another project key: "
                "use its run folder, or another dataset folder"
            )
