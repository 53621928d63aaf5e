"""`dicom2clip shards find`: the studies that have what one looks for.

In: a dataset, filters on metadata, words of sentences. Out: keys with what matched, `--json` for
programs, `--keys` for a pipe into `preview` or `export`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from shards import allowed, condition, words
from shards.cli_options import AsJson, DatasetPath, Split
from shards.find import Match, Query, Said, find
from shards.reader import Dataset
from shards.view import PLANES
from study.errors import UserError
from study.progress import Bars
from study.records import FLAGS

_SOME = 5
"""Sentences shown of a study that has more."""

Several = list[str] | None


def find_studies(
    dataset: DatasetPath,
    text: Annotated[
        str | None,
        typer.Option(
            help='Words, or a "phrase", that are in one sentence: of any variant, or of the report.'
        ),
    ] = None,
    regex: Annotated[bool, typer.Option("--regex", help="--text is a regular expression.")] = False,
    modality: Annotated[Several, typer.Option(help="Of a scan; may be repeated: any.")] = None,
    plane: Annotated[Several, typer.Option(help="Of the same scan; repeated: any.")] = None,
    window: Annotated[Several, typer.Option(help="Of the same scan; repeated: any.")] = None,
    flag: Annotated[Several, typer.Option(help="Of the same scan; repeated: any.")] = None,
    where: Annotated[
        Several,
        typer.Option(
            metavar="CONDITION",
            help="Condition on a fact, such as 'echo_time_ms<30'; repeated: all, of one scan. "
            "An unknown one lists the facts.",
        ),
    ] = None,
    min_scans: Annotated[int, typer.Option(min=1, help="Matching scans of a study.")] = 1,
    split: Split = None,
    label: Annotated[
        Several,
        typer.Option(metavar="NAME=VALUE", help="A label, or NAME=unknown; repeated: all."),
    ] = None,
    age: Annotated[
        str | None, typer.Option(metavar="LOW-HIGH", help="Years, both included: 40-60, 70-, -17.")
    ] = None,
    sex: Annotated[Several, typer.Option(help="F, M or O; repeated: any.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Stop after so many; 0 finds all.")] = 0,
    keys: Annotated[bool, typer.Option("--keys", help="Print bare keys, for a pipe.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find studies by metadata and by words of their sentences."""
    if regex and text is None:
        raise UserError("--regex: there is no --text to read as a regular expression")
    if keys and as_json:
        raise UserError("--keys and --json: give one of the two")
    query = Query(
        split=split,
        sex=_known("--sex", sex, ("F", "M", "O")),
        age=None if age is None else _age(age),
        labels=tuple(_label(one) for one in label or ()),
        modality=_known("--modality", modality, allowed.MODALITY.words),
        plane=_known("--plane", plane, PLANES),
        window=tuple(window or ()),
        flag=_known("--flag", flag, FLAGS),
        conditions=tuple(condition.parse(one) for one in where or ()),
        min_scans=min_scans,
        words=None if text is None else (words.expression if regex else words.words)(text),
    )
    opened = Dataset.open(dataset)
    console = Console(highlight=False, soft_wrap=True)
    # one console for both at a terminal: what is found scrolls above the bar
    bar_console = console if console.is_terminal else Console(stderr=True)
    count = 0
    with Bars(bar_console, {"read": "reading sentences"}) as bars:
        found = find(opened, query, lambda done, of: bars("read", done, of))
        for match in islice(found, limit or None):
            count += 1
            if keys:
                console.out(match.key, highlight=False)
            elif as_json:
                console.out(json.dumps(asdict(match), sort_keys=True), highlight=False)
            else:
                console.print(_shown(match))
    stopped = f", stopped at --limit {limit}" if limit and count == limit else ""
    studies = "study" if count == 1 else "studies"
    typer.echo(f"{count} {studies}{stopped}", err=keys or as_json)


def _shown(match: Match) -> Text:
    """Key and facts on a line, the sentences below it, what was found in bold."""
    kinds, scans = " ".join(match.modalities), f"{len(match.scans)} of {match.num_scans} scans"
    shown = Text.assemble((match.key, "bold cyan"), f"  {match.split}  {kinds}  {scans}")
    said = [one for one in match.said if one.where != "report"] or list(match.said)
    for one in said[:_SOME]:
        shown.append(f"\n  {one.where}: ", "dim").append_text(_marked(one))
    if len(said) > _SOME:
        shown.append(f"\n  and {len(said) - _SOME} more", "dim")
    return shown


def _marked(said: Said) -> Text:
    """The sentence on one line; control characters, which could command a terminal, are shown as
    spaces."""
    line = Text("".join(c if c.isprintable() else " " for c in said.text))
    for start, end in said.spans:
        line.stylize("bold black on yellow", start, end)
    return line


def _known(option: str, asked: Several, there: Iterable[str]) -> tuple[str, ...]:
    """What was asked for, in the case that datasets write it in."""
    names = {name.upper(): name for name in sorted(there)}
    for one in asked or ():
        if one.upper() not in names:
            raise UserError(f"{option} {one!r} is not one of {', '.join(names.values())}")
    return tuple(names[one.upper()] for one in asked or ())


def _age(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        first = float(low) if low else 0.0
        last = (float(high) if high else math.inf) if dash else first
    except ValueError:
        first, last = 1.0, 0.0
    if not (first <= last and (low or high)):
        raise UserError(f"--age {text!r}: not LOW-HIGH in years, such as 40-60, 70- or -17")
    return first, last


def _label(text: str) -> tuple[str, float | None]:
    name, _, value = text.rpartition("=")
    try:
        known = None if value == "unknown" else float(value)
    except ValueError:
        known = math.nan
    if not name or known != known:
        raise UserError(
            f"--label {text!r}: not NAME=VALUE, where VALUE is 0, 1, between, or unknown"
        )
    return name, known
