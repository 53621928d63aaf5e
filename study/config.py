"""`pipelines.yaml` -> a typed Pipeline, with errors that a user can act on.

In: the YAML file, a pipeline's name, and `--set key=value` overrides. Out: a frozen `Pipeline`. A
pipeline may build on another with `extends:`; mappings merge, everything else replaces. An unknown
key or a bad value is a `UserError` that names file, line, key and, for a typing mistake, the
nearest key that exists. Relative paths in the file are meant from the folder of the file; those on
the command line from the current folder.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from study.errors import UserError, yaml_fault
from study.ingest_sections import Ingest
from study.section import Section
from study.sections import Eval, Shards, Train

KeyPath = tuple[str, ...]


class Pipeline(Section):
    """One named pipeline, complete: what to read, where to write, and how each stage goes."""

    name: str
    description: str = ""
    """One line for `dicom2clip run --list`."""
    dataset: str
    """Folder of the sharded dataset."""
    run: str
    """Run folder: what identifies patients, logs and checkpoints. Made with mode 0700."""
    ingest: Ingest = Ingest()
    shards: Shards = Shards()
    train: Train = Train(steps=1000)
    eval: Eval = Eval()


PATH_KEYS: tuple[KeyPath, ...] = (
    ("dataset",),
    ("run",),
    ("ingest", "source"),
    ("ingest", "reports"),
    ("ingest", "labels"),
    ("ingest", "select", "study_uids_file"),
    ("ingest", "select", "accession_numbers_file"),
    ("ingest", "speed", "answers"),
    ("ingest", "speed", "tls", "ca"),
    ("ingest", "speed", "tls", "cert"),
    ("ingest", "speed", "tls", "key"),
    ("ingest", "speed", "cluster", "log_directory"),
    ("train", "speed", "cache"),
)
"""Values that are paths; those of the file are made absolute from the file's folder."""
NAME_OR_PATH_KEYS: tuple[KeyPath, ...] = (
    ("ingest", "presidio_model"),
    ("train", "model", "text_model"),
)
"""The same, where such a folder is there; else they are names of something elsewhere."""
LISTED_PATH_KEYS: tuple[KeyPath, ...] = (
    ("ingest", "summarizers", "prompt"),
    ("ingest", "labelers", "label_set"),
    ("ingest", "labelers", "prompt"),
)
"""The same in each item of a list, where they hold what names of bundled files have not (a dot, a
slash)."""


BRANCH = re.compile(r"str|dict\[.*\]")
"""What pydantic puts into the path of an error in a value of several types."""


def default_file() -> Path:
    """pipelines.yaml of the current folder, else the one that comes with the program."""
    here = Path("pipelines.yaml")
    return here if here.exists() else Path(__file__).resolve().parents[1] / "pipelines.yaml"


def load_pipeline(file: Path, name: str, overrides: Sequence[str] = ()) -> Pipeline:
    """Read pipeline `name` of `file` and apply `overrides` ("train.batch_size=32", later ones win).

    Raises UserError for a missing file, bad YAML, an unknown pipeline or key, and values that do
    not fit.
    """
    pipelines, lines = _read_yaml(file)
    merged, origin = _resolve(file, name, pipelines)
    where: dict[KeyPath, str] = {
        path: f"{file}, line {lines[(owner, *path)]}"
        for path, owner in origin.items()
        if (owner, *path) in lines
    }
    for known, line in lines.items():  # of what stands in lists, which are taken over whole
        path = next((known[1:n] for n, part in enumerate(known) if part.isdigit()), ())
        if origin.get(path) == known[0]:
            where[known[1:]] = f"{file}, line {line}"
    for key_path in (*PATH_KEYS, *NAME_OR_PATH_KEYS, *LISTED_PATH_KEYS):
        _make_absolute(merged, key_path, file.resolve().parent)
    for override in overrides:
        path, value = _parse_override(override)
        if path in PATH_KEYS or (path in NAME_OR_PATH_KEYS and Path(str(value)).is_dir()):
            value = [_resolved(v) for v in value] if isinstance(value, list) else _resolved(value)
        _put(merged, path, value, override)
        where[path] = f"--set {override}"
    for key_path in LISTED_PATH_KEYS:
        _make_absolute(merged, key_path, Path.cwd())
    try:
        return Pipeline(name=name, **merged)
    except ValidationError as error:
        raise UserError(_explain(error, file, name, where)) from None


def ingest_settings(overrides: Sequence[str] = ()) -> Ingest:
    """The ingest section without a pipeline: its defaults with `overrides` ("rules.min_slices=1").

    Raises UserError for unknown keys and values that do not fit.
    """
    settings: dict[str, Any] = {}
    for override in overrides:
        path, value = _parse_override(override)
        _put(settings, path, value, override)
    try:
        return Ingest(**settings)
    except ValidationError as error:
        lines = "; ".join(
            f"{'.'.join(str(p) for p in e['loc'])}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise UserError(f"--set {lines}") from None


def pipeline_names(file: Path) -> dict[str, str]:
    """Names and descriptions of all pipelines in `file`, in its order."""
    pipelines, _ = _read_yaml(file)
    return {
        name: str(_resolve(file, name, pipelines)[0].get("description", "")) for name in pipelines
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of settings given as plain JSON values; the order of keys does not
    matter."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read_yaml(file: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Contents of the file, and the line (from 1) of every key path in it."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no {file}; give the file of pipelines with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{file} is not valid YAML: {yaml_fault(error)}") from None
    if not isinstance(data, dict) or not all(isinstance(p, dict) for p in data.values()):
        raise UserError(f"{file} must map names of pipelines to their settings")
    for name, settings in data.items():
        odd = next((key for key in (name, *settings) if not isinstance(key, str)), None)
        if odd is not None:
            raise UserError(f"{file}: {odd!r} is not text; put it into quotes")
        if "name" in settings:
            raise UserError(f"{file}: pipeline {name!r} has a key 'name'; its name is {name!r}")
        if not isinstance(settings.get("extends", ""), str):
            raise UserError(f"{file}: pipeline {name!r}: extends takes the name of one pipeline")
    lines: dict[KeyPath, int] = {}
    for path, line in _key_lines(node, ()):
        if path in lines:
            raise UserError(
                f"{file}, line {line}: {'.'.join(path)} is given twice, on line {lines[path]} first"
            )
        lines[path] = line
    return data, lines


def _key_lines(node: yaml.Node | None, prefix: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _key_lines(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _key_lines(item, (*prefix, str(number)))


def _resolve(
    file: Path, name: str, pipelines: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Settings of a pipeline with its ancestors merged in, and which pipeline each key path comes
    from."""
    chain: list[str] = []
    current: str | None = name
    while current is not None:
        if current not in pipelines:
            known = ", ".join(pipelines)
            what = (
                f"no pipeline {current!r}"
                if current == name
                else f"{chain[-1]!r} extends {current!r}, which is missing"
            )
            raise UserError(f"{file}: {what}{_nearest(current, pipelines)} (there are: {known})")
        if current in chain:
            raise UserError(
                f"{file}: pipelines extend each other in a circle: {' -> '.join([*chain, current])}"
            )
        chain.append(current)
        current = pipelines[current].get("extends")
    merged: dict[str, Any] = {}
    origin: dict[KeyPath, str] = {}
    for owner in reversed(chain):
        settings = {k: v for k, v in pipelines[owner].items() if k != "extends"}
        _merge(merged, settings, owner, (), origin)
    return merged, origin


def _merge(
    base: dict[str, Any],
    top: Mapping[str, Any],
    owner: str,
    prefix: KeyPath,
    origin: dict[KeyPath, str],
) -> None:
    for key, value in top.items():
        path = (*prefix, str(key))
        origin[path] = owner
        if isinstance(value, dict):
            child = base.get(key)
            base[key] = dict(child) if isinstance(child, dict) and path[-1] != "ct_windows" else {}
            _merge(base[key], value, owner, path, origin)
        else:
            base[key] = value


def _parse_override(override: str) -> tuple[KeyPath, Any]:
    key, separator, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not separator or not key.strip():
        raise UserError(
            f"--set {override!r} is not of the form key=value, as in --set train.batch_size=32"
        )
    if path in (("name",), ("extends",)):
        raise UserError(f"--set {override}: {key} cannot be set; name the pipeline in the command")
    if path in PATH_KEYS and not text.lstrip().startswith(("[", "'", '"')):
        return path, text  # a path may hold what YAML would read as something else
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        value = text
    return path, value


def _put(settings: dict[str, Any], path: KeyPath, value: Any, override: str) -> None:
    for part in path[:-1]:
        child = settings.setdefault(part, {})
        if not isinstance(child, dict):
            raise UserError(f"--set {override}: {part} is a value, it has no keys of its own")
        settings = child
    settings[path[-1]] = value


def _resolved(value: Any) -> Any:
    return (
        str(Path(value).expanduser().resolve())
        if isinstance(value, str) and value and "://" not in value
        else value
    )


def _make_absolute(settings: dict[str, Any], path: KeyPath, folder: Path) -> None:
    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return [absolute(v) for v in value]
        if not isinstance(value, str) or not value or "://" in value:
            return value
        place = (folder / Path(value).expanduser()).resolve()
        is_name = (path in NAME_OR_PATH_KEYS and not place.is_dir()) or (
            path in LISTED_PATH_KEYS and not {"/", "."} & set(value)
        )
        return value if is_name else str(place)

    for holder in _holders(settings, path):
        if path[-1] in holder:
            holder[path[-1]] = absolute(holder[path[-1]])


def _holders(settings: dict[str, Any], path: KeyPath) -> list[dict[str, Any]]:
    """The sections that may hold the last key of a path: several where lists lie on the way."""
    found = [settings]
    for part in path[:-1]:
        below = [holder.get(part) for holder in found]
        items = [
            item for child in below for item in (child if isinstance(child, list) else [child])
        ]
        found = [item for item in items if isinstance(item, dict)]
    return found


def _explain(error: ValidationError, file: Path, name: str, where: Mapping[KeyPath, str]) -> str:
    messages = []
    for item in error.errors():
        if item["loc"][-1:] == ("str",) and isinstance(item["input"], dict):
            continue  # of what is a text or keys: the keys that were given are judged
        path = tuple(part for part in map(str, item["loc"]) if not BRANCH.fullmatch(part))
        place = _place(path, where) or f"{file}, pipeline {name}"
        key = ".".join(path)
        if item["type"] == "extra_forbidden":
            known = _known_keys(path[:-1])
            messages.append(f"{place}: unknown key {key!r}{_nearest(path[-1], known)}")
        elif item["type"] == "missing":
            messages.append(f"{place}: {key!r} is missing")
        else:
            text = item["msg"].removeprefix("Value error, ")
            messages.append(f"{place}: {key or name}: {text}{_given(item)}")
    return "\n".join(messages)


def _place(path: KeyPath, where: Mapping[KeyPath, str]) -> str | None:
    """Where a key was written: its own place, that of something in it, or that of the nearest key
    around it."""
    inside = [
        place
        for known, place in where.items()
        if known[: len(path)] == path and not any(part.isdigit() for part in known[len(path) :])
    ]
    around = [where[path[:n]] for n in range(len(path) - 1, 0, -1) if path[:n] in where]
    return next(iter([*inside[-1:], *around]), None)


def _given(item: Any) -> str:
    if item["loc"][-1:] == ("api_key_env",):
        return ""  # it may be the key itself
    value = item.get("input")
    return f" (found {value!r})" if isinstance(value, str | int | float | bool) else ""


def _known_keys(path: KeyPath) -> list[str]:
    model: Any = Pipeline
    for part in path:
        if part.isdigit():
            continue  # of a list, whose items the annotation of its key names
        annotation = (
            model.model_fields[part].annotation
            if part in getattr(model, "model_fields", {})
            else None
        )
        candidates = [annotation, *get_args(annotation)]
        model = next(
            (c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None
        )
        if model is None:
            return []
    return [*model.model_fields, *(["extends"] if model is Pipeline else [])]


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
