"""Which labels a study may have, and what each one asks: label sets as versioned files.

In: the name of a bundled set, or the path of a file like those in `ingest/label_sets`. Out: a
frozen `LabelSet`. A set is data: names as the benchmark publishes them (they become columns of the
dataset), a question for language models, and phrases for the route without a model (see
`label_words`). docs/labels.md shows how to write one.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from ingest.allowlist import is_label_name
from study import data_file
from study.section import Section

FOLDER = Path(__file__).with_name("label_sets")
"""Where the sets that come with the project are."""
KEY = "label_set"
"""The setting that names a set, as errors call it."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Answer(StrEnum):
    """What a report says of a label."""

    YES = "yes"
    NO = "no"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"
    """Nothing: it is not mentioned."""


VALUES = {Answer.YES: 1.0, Answer.NO: 0.0, Answer.UNCERTAIN: 0.5}
"""Of a label in a dataset. Training takes 0.5 as it is; benchmarks set it aside."""


class Label(Section):
    """One label of a set."""

    name: Words
    """As it stands in the dataset and in the reference tables."""
    question: Words
    """What a language model is asked; the answer is yes, no or uncertain."""
    words: tuple[Words, ...] = ()
    """Phrases that name the finding: all words of one near each other in a sentence, in any order;
    the last word is what must not be denied. `wall*`: any word that begins so; `a|b`: either."""
    opposite: tuple[Words, ...] = ()
    """Phrases that say that it is not there, as `heart size normal`."""
    other: tuple[Words, ...] = ()
    """Phrases that hold its words and mean something else, as `thyroid nodule`; their last words
    count for nothing."""
    includes: tuple[Words, ...] = ()
    """Labels of the set of which each is a kind of this one: where one is there, so is this."""
    normal: bool = False
    """The label of a study without abnormality: it is judged by the whole report, not by words."""

    @field_validator("name")
    @classmethod
    def _may_leave(cls, name: str) -> str:
        if not is_label_name(name):
            raise ValueError(
                f"{name!r} cannot be the name of a label: a letter first, then letters, digits, "
                "spaces and ()/.,+&:*%'-, no five digits in a row, at most 80 in all"
            )
        return name

    @field_validator("words", "opposite", "other")
    @classmethod
    def _have_words(cls, phrases: tuple[str, ...]) -> tuple[str, ...]:
        for phrase in phrases:
            for word in phrase.split():
                if not all(any(c.isalnum() for c in either) for either in word.split("|")):
                    raise ValueError(f"phrase {phrase!r}: {word!r} holds no letter")
        return phrases


class LabelSet(Section):
    """Labels that are asked about together."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,30}$")]
    """Stands in the dataset's settings."""
    version: Annotated[int, Field(ge=1, lt=10_000)]
    """Raised with every change that may change an answer."""
    source: Words
    """Where names and definitions are from."""
    absent: Literal["no", "unknown"] = "unknown"
    """What a label is that a report does not mention: 0, as in the published benchmarks, or no
    label at all."""
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]

    @field_validator("absent", mode="before")
    @classmethod
    def _no_is_a_word(cls, value: object) -> object:
        return "no" if value is False else value  # YAML 1.1 reads a bare no as false

    @model_validator(mode="after")
    def _fit_together(self) -> LabelSet:
        names = self.names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two labels have the name {twice!r}")
        for label in self.labels:
            unknown = next((name for name in label.includes if name not in names), None)
            if unknown is not None:
                raise ValueError(f"label {label.name!r} includes {unknown!r}, which is none of it")
        for name in names:
            if name in self._below(name):
                raise ValueError(f"label {name!r} includes itself")
        return self

    def _below(self, name: str) -> set[str]:
        """All that a label includes, directly or not."""
        direct = {label.name: label.includes for label in self.labels}
        found: set[str] = set()
        todo = [*direct[name]]
        while todo:
            below = todo.pop()
            if below not in found:
                found.add(below)
                todo += direct[below]
        return found

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def title(self) -> str:
        return f"{self.name}-{self.version}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that may shape a label."""
        whole = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()

    def with_included(self, answers: dict[str, Answer]) -> dict[str, Answer]:
        """Answers that fit each other: a label is at least as sure as those that it includes, and
        what is not mentioned is denied with what includes it."""
        found = {name: self._raised(name, answers) for name in answers}
        denied = {b for name in found if found[name] is Answer.NO for b in self._below(name)}
        for name in denied:
            if found.get(name) is Answer.ABSENT:
                found[name] = Answer.NO
        return found

    def _raised(self, name: str, answers: dict[str, Answer]) -> Answer:
        below = {answers[other] for other in self._below(name) if other in answers}
        if Answer.YES in below:
            return Answer.YES
        if Answer.UNCERTAIN in below and answers[name] is not Answer.YES:
            return Answer.UNCERTAIN
        return answers[name]

    def values(self, answers: dict[str, Answer]) -> dict[str, float]:
        """Answers as the labels of a study: yes 1, no 0, uncertain 0.5. A label that is not
        mentioned is left out, or 0 where `absent` says so. No answers at all, no labels."""
        found = {}
        for name, answer in answers.items():
            if answer is Answer.ABSENT and self.absent == "no":
                answer = Answer.NO
            if answer is not Answer.ABSENT:
                found[name] = VALUES[answer]
        return found


# ----------------------------------------------------------------------------------------- files


def label_set_names() -> tuple[str, ...]:
    """Sets that come with the project."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


@lru_cache(maxsize=64)
def find_label_set(name: str) -> LabelSet:
    """A bundled set by its name, or one of the user's own by its path. Raises UserError."""
    return load_label_set(data_file.find(name, FOLDER, f"{KEY}: no label set"))


def load_label_set(file: Path) -> LabelSet:
    """Read and check one file. Raises UserError with file, line and key."""
    what = "a label set maps keys (name, version, labels)"
    return data_file.read(file, LabelSet, Label, what, KEY)
