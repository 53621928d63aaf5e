"""Labels of a dataset, and predictions beside them, as one table.

In: samples, and a table of predictions with a column `key`. Out: a row a study: key, patient,
split, age_years, sex, a column a label, then the columns of the predictions. What is unknown is
empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from shards import sidecar
from shards.index import SampleRef
from shards.reader import Dataset
from shards.store import LocalStore
from study.errors import UserError

ENDINGS = (".csv", ".parquet")
PREFIX = "predicted "
"""Before the name of a prediction's column that a fact or a label has already."""
LABEL_PREFIX = "label "
"""Before the name of a label that a fact has already."""


def labels_table(dataset: Dataset, refs: Sequence[SampleRef]) -> pa.Table:
    """A row for each of `refs`, in their order. Tables are read a shard at a time."""
    numbers: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for number, ref in enumerate(refs):
        numbers[ref.shard][ref.key] = number
    labels: dict[str, np.ndarray] = {}
    age = np.full(len(refs), np.nan)
    sex = [""] * len(refs)
    for shard, wanted in sorted(numbers.items()):
        rows = sidecar.read(dataset.store, shard, ["key", "status", "age_years", "sex", "labels"])
        rows = rows.filter(pc.equal(rows["status"], "used"))
        for row in rows.to_pylist(maps_as_pydicts="strict"):
            number = wanted.get(row["key"], -1)
            if number < 0:
                continue  # not asked for, or superseded
            sex[number] = row["sex"]
            age[number] = np.nan if row["age_years"] is None else row["age_years"]
            for name, value in row["labels"].items():
                labels.setdefault(name, np.full(len(refs), np.nan))[number] = value
    facts = {
        "key": pa.array([ref.key for ref in refs], pa.string()),
        "patient": pa.array([ref.patient for ref in refs], pa.string()),
        "split": pa.array([ref.split for ref in refs], pa.string()),
        "age_years": pa.array(age, from_pandas=True).cast(pa.int32()),
        "sex": pa.array(sex, pa.string()),
    }
    for name, values in sorted(labels.items()):
        column = f"{LABEL_PREFIX}{name}" if name in facts else name
        facts[column] = pa.array(values, from_pandas=True)
    return pa.table(facts)


def read_predictions(file: Path) -> pa.Table:
    """A CSV or Parquet table with a column `key`, each key once. UserError otherwise."""
    check_ending("--predictions", file)
    try:
        if file.suffix == ".csv":
            types = pa_csv.ConvertOptions(column_types={"key": pa.string()})
            table = pa_csv.read_csv(file, convert_options=types)
        else:
            table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"--predictions {file}: {error}") from None
    if "key" not in table.column_names:
        have = ", ".join(table.column_names)
        raise UserError(f"--predictions {file}: there is no column key; it has {have}")
    if not pa.types.is_string(table.schema.field("key").type):
        table = table.set_column(
            table.column_names.index("key"), "key", table["key"].cast(pa.string())
        )
    counted = pc.value_counts(table["key"])
    twice = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")
    if len(twice):
        raise UserError(f"--predictions {file}: key {twice[0].as_py()} comes more than once")
    return table


def beside(table: pa.Table, predictions: pa.Table) -> tuple[pa.Table, int, int]:
    """The table with the predictions' columns added; how many of its studies have none; how many
    predictions are for no study of it."""
    places = {key: place for place, key in enumerate(predictions["key"].to_pylist())}
    chosen = [places.get(key) for key in table["key"].to_pylist()]
    matched = predictions.take(pa.array(chosen, pa.int64()))
    for name in predictions.column_names:
        if name == "key":
            continue
        column = f"{PREFIX}{name}" if name in table.column_names else name
        if column in table.column_names:
            raise UserError(f"--predictions: there is a column {column!r} already; rename {name!r}")
        table = table.append_column(column, matched[name])
    without = chosen.count(None)
    return table, without, len(places) - (len(chosen) - without)


def check_ending(option: str, file: Path) -> None:
    """UserError unless the file's ending is one of ENDINGS."""
    if file.suffix not in ENDINGS:
        raise UserError(f"{option} {file}: the ending must be {' or '.join(ENDINGS)}")


def write_table(file: Path, table: pa.Table) -> None:
    """Write CSV or Parquet by the file's ending, whole or not at all."""
    new = LocalStore(file.parent).create(file.name)
    try:
        if file.suffix == ".csv":
            pa_csv.write_csv(table, new.stream)
        else:
            pq.write_table(table, new.stream, compression="zstd")
        new.publish()
    finally:
        new.discard()
