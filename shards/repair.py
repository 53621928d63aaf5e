"""A damaged dataset, made whole again with what is left of it.

In: a dataset, however damaged. Out: the same with tables, commit records, index, sizes.json,
croissant.json, README.md and dataset.json that agree with its tars, and without bad samples: those
lie in quarantine. An intact dataset keeps every byte. What the shards do not tell (settings and
their fingerprint, provenance, name, fingerprint of the key) comes from dataset.json; while a repair
is at work it is kept in `repair.json`, so that a killed one can go on. A shard that lost something
is marked: the next ingestion makes it anew, if its sources are still there.
Nobody may write into the dataset meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards import books, card, catalog, commit, index, mend, quarantine, seal, store, verify
from shards.books import IndexRows
from shards.examine import Book
from shards.files import is_temporary
from shards.problem import Problem
from shards.store import Location, Store, store_at
from study.config import fingerprint
from study.errors import UserError

FACTS_FILE = "repair.json"
GIVEN = ("name", "fingerprint", "key_fingerprint", "provenance", "settings")
"""Fields of dataset.json that do not follow from the shards."""
UNKNOWN: dict[str, Any] = {
    "name": "dicom2clip",
    "fingerprint": "",
    "key_fingerprint": "",
    "provenance": {},
    "settings": {},
}


@dataclass(frozen=True)
class Repair:
    """What was, or would be, done."""

    problems: tuple[Problem, ...]
    """That were found."""
    done: tuple[str, ...]
    lost: tuple[str, ...]
    """What could not be brought back, and what to do."""
    quarantine: str
    """Where damaged samples went; empty where there were none."""


def repair(
    dataset: Location,
    *,
    aside: Location | None = None,
    dry_run: bool = False,
    jobs: int = 1,
    progress: verify.Progress = lambda done, total: None,
) -> Repair:
    """Mend a dataset; `aside` is a folder or URL for what is damaged. UserError where there is no
    dataset, or where it cannot be finished."""
    place = store_at(dataset)
    found = verify.verify(place, jobs, progress)
    sizes = place.sizes()
    stale = [name for name in sizes if is_temporary(Path(name))]
    away, is_used = quarantine.place_for(place, aside), False
    half = quarantine.unfinished(away)
    done = [f"{name}: removed, left over from a killed writer" for name in [*stale, *half]]
    _remove(away, [] if dry_run else half)
    if not found.problems:
        stale += [FACTS_FILE] if FACTS_FILE in sizes else []
        _remove(place, [] if dry_run else stale)
        return Repair((), tuple(done), (), "")
    facts, lost = _given(place, sizes)
    bad = sorted({n for p in found.problems if (n := commit.shard_of(p.where)) is not None})
    if not dry_run:
        _remove(place, stale)
        store.write(place, FACTS_FILE, seal.text(seal.sealed(facts), catalog.INFO_INDENT))
    index_book = _index(place, sizes)
    if not dry_run:
        place.remove(catalog.INFO_FILE)  # no reader may open what is half mended
    for number in bad:
        mending = mend.look(place, number, sizes, index_book(number))
        done += mending.done
        lost += mending.lost
        is_used |= bool(mending.remove or mending.strays)
        if not dry_run:
            mend.apply(place, mending, away)
    done.append(f"{', '.join((*books.ALWAYS, catalog.INFO_FILE))}: written anew")
    if not dry_run:
        _finish(place, facts)
        place.remove(FACTS_FILE)
    return Repair(found.problems, tuple(done), tuple(lost), away.url if is_used else "")


def _index(place: Store, sizes: dict[str, int]) -> Callable[[int], Book | None]:
    """What the index says of a shard, and whether it is proven; None where it cannot be read."""
    is_right = books.read_catalog(place, sizes).index_is_right
    rows: IndexRows | None = None
    if index.INDEX_FILE in sizes:
        with suppress(*books.UNREADABLE):
            rows = IndexRows(place)

    def of(number: int) -> Book | None:
        with suppress(*books.UNREADABLE):
            return None if rows is None else Book(rows.of(number), is_right)
        return None

    return of


def _given(place: Store, sizes: dict[str, int]) -> tuple[dict[str, Any], list[str]]:
    """The facts that shards do not tell, and what is lost of them."""
    if FACTS_FILE in sizes and not seal.damage(data := place.read(FACTS_FILE), catalog.INFO_INDENT):
        told = json.loads(data)
        return {name: told[name] for name in GIVEN}, []
    cat = books.read_catalog(place, sizes)
    facts = dict(UNKNOWN)
    if cat.facts is not None and (cat.is_proven or not cat.facts[seal.FIELD]):
        return {name: cat.facts[name] for name in GIVEN}, []
    if cat.facts is not None:
        facts |= {name: cat.facts[name] for name in _told_twice(place, sizes, cat.facts)}
    missing = [name for name in GIVEN if facts[name] == UNKNOWN[name]]
    again = "`dicom2clip run PIPELINE --stage ingest` in the same run folder writes them anew"
    return facts, [f"{catalog.INFO_FILE}: {', '.join(missing)}; {again}"] if missing else []


def _told_twice(place: Store, sizes: dict[str, int], facts: dict[str, Any]) -> Iterator[str]:
    """Fields of a damaged dataset.json that something else confirms: README.md, or the settings'
    own fingerprint."""
    text = (
        place.read(card.README_FILE).decode(errors="replace") if card.README_FILE in sizes else ""
    )
    if text.startswith(f"# {facts['name']}\n"):
        yield "name"
    for name in ("fingerprint", "key_fingerprint"):
        if f"`{facts[name]}`" in text:
            yield name
    if all(f"- {name} {version}\n" in text for name, version in facts["provenance"].items()):
        yield "provenance"
    if fingerprint(facts["settings"]) == facts["fingerprint"]:
        yield "settings"
        yield "fingerprint"


def _finish(place: Store, facts: dict[str, Any]) -> None:
    try:
        catalog.finish_dataset(place, **facts)
    except ValueError as error:
        raise UserError(f"{place.url}: its shards do not make a dataset: {error}") from None


def _remove(place: Store, names: list[str]) -> None:
    for name in names:
        place.remove(name)
