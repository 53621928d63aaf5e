"""A YAML file of data (a benchmark, a label set) -> a checked model; faults with file and line.

In: a file, and the `Section` that it must be. Out: the model, or a `UserError` whose every line
names file, line, key, and what would be accepted. pipelines.yaml has its own reader (`config`): it
knows of pipelines that extend each other and of values from the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from study.errors import UserError, yaml_fault
from study.section import Section

Model = TypeVar("Model", bound=Section)
Place = tuple[str | int, ...]


def read(file: Path, model: type[Model], item: type[Section], what: str, key: str = "") -> Model:
    """Read and check a file. `item` is what its lists hold; `what` it is, in words, as in "a label
    set maps keys (name, labels) to values"; `key`: the setting that names the file, if any."""
    where = f"{key}: {file}" if key else str(file)
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        written = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot read it: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{where} is not valid YAML: {yaml_fault(error)}") from None
    if not isinstance(written, dict):
        raise UserError(f"{where}: {what} to values")
    lines: dict[Place, int] = {}
    for place, line in _lines(node, ()):
        if place in lines:
            raise UserError(f"{where}, line {line}: {_dotted(place)} is given twice")
        lines[place] = line
    try:
        return model.model_validate(written)
    except ValidationError as error:
        found = error.errors()
        raise UserError("\n".join(_told(e, where, lines, (model, item)) for e in found)) from None


def find(name: str, folder: Path, error: str) -> Path:
    """The file of what comes with the project in `folder`, by its name, or one of the user's own,
    by its path. `error`: the words before the name, as in "label_set: no label set"."""
    known = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    own = Path(name).expanduser()
    if name in known or own.is_file():
        return known.get(name, own)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UserError(
        f"{error} {name!r}{hint} (there are: {', '.join(known)}; or give the path of a YAML file "
        "of your own)"
    )


def _lines(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, int]]:
    """Place and line (from 1) of every key and list item."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, str(key.value)), key.start_mark.line + 1
            yield from _lines(value, (*place, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*place, index), value.start_mark.line + 1
            yield from _lines(value, (*place, index))


def _told(item: Any, where: str, lines: dict[Place, int], models: Sequence[type[Section]]) -> str:
    """One fault in words."""
    place: Place = tuple(item["loc"])
    known = [lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines]
    at = f"{where}, line {known[0]}" if known else where
    if item["type"] == "extra_forbidden":
        fields = list(models[len(place) > 1].model_fields)
        close = difflib.get_close_matches(str(place[-1]), fields, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(fields)}"
        return f"{at}: unknown key {_dotted(place)!r}{hint}"
    if item["type"] == "missing":
        return f"{at}: {_dotted(place)!r} is missing"
    if item["type"] == "tuple_type":
        return f"{at}: {_dotted(place)} must be a list, as in [one, two] (found {item['input']!r})"
    if item["type"] == "literal_error":
        choices = item["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
        return f"{at}: {_dotted(place)} cannot be {item['input']!r} (there are: {choices})"
    what = [_dotted(place)] if place else []
    return ": ".join([at, *what, item["msg"].removeprefix("Value error, ")])


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)
