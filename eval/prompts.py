"""A benchmark file -> what to ask the text tower, and which label column says what is true.

In: `eval/benchmarks/NAME.yaml`, or a file of the user's own. Out: a frozen `Benchmark`. A benchmark
is data: classes with their label column and prompts, templates around the prompts, the rule that
makes a score of cosines, and the metrics. Labels are found by name, never by the order of columns
(published scripts score mass effect against midline shift that way). An unknown key or a bad value
is a `UserError` with file and line. docs/benchmarks.md shows how to write one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from study import data_file
from study.section import Section

FOLDER = Path(__file__).parent / "benchmarks"
"""Where the benchmarks that come with the project are."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Prompts = Annotated[tuple[Words, ...], Field(min_length=1)]
Metric = Literal["auc", "balanced_accuracy", "weighted_f1", "sensitivity"]
Rule = Literal["positive", "difference", "softmax"]


class ClassPrompts(Section):
    """One class: where its truth is, and the words that stand for it."""

    name: Words
    """How the class is called in tables."""
    label: Words
    """Column of the labels table: 1 has it, 0 has it not, empty (or between) is unknown and not
    scored."""
    positive: Prompts
    """Texts of a study that has it; their embeddings are averaged."""
    negative: tuple[Words, ...] = ()
    """Texts of a study that has it not, for the rule `difference`."""


class Benchmark(Section):
    """A question to a model, with all that is needed to ask it again."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """Names the result files: letters, digits, `_`, `.` and `-`."""
    title: Words
    """Heading of the table."""
    description: str = ""
    """Whose data and labels these are, and what to know before comparing numbers."""
    rule: Rule = "positive"
    """What the score of a class is: `positive`, the cosine of study and positive prompts;
    `difference`, that minus the cosine of the negative prompts; `softmax`, the log-odds among all
    classes, of which a study has exactly one."""
    templates: Prompts = ("{prefix}{c}",)
    """Put around every prompt: {c} is the prompt, {prefix} what training put before its texts. A
    template without {prefix} is used as it stands."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("auc",)
    """`auc`; `sensitivity` at the specificity below; `balanced_accuracy` and `weighted_f1` of the
    decision that the rule itself makes: difference above 0, or the most probable class. No
    threshold is ever fitted to the scored studies."""
    specificity: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Where on the ROC curve `sensitivity` is read."""
    classes: Annotated[tuple[ClassPrompts, ...], Field(min_length=1)]
    """In the order of the table."""

    @field_validator("templates")
    @classmethod
    def _templates_fill(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if "{c}" not in template:
                raise ValueError(f"template {template!r} has no {{c}}, where the prompt goes")
            rest = template.replace("{c}", "").replace("{prefix}", "")
            if "{" in rest or "}" in rest:
                raise ValueError(
                    f"template {template!r}: only {{c}} and {{prefix}} can be filled in"
                )
        return templates

    @model_validator(mode="after")
    def _rule_fits(self) -> Benchmark:
        for what in ("name", "label"):
            values = [getattr(c, what) for c in self.classes]
            twice = next((v for v in values if values.count(v) > 1), None)
            if twice is not None and (what == "name" or self.rule == "softmax"):
                raise ValueError(f"two classes have the {what} {twice!r}")
        for c in self.classes:
            if self.rule == "difference" and not c.negative:
                raise ValueError(
                    f"class {c.name!r} needs negative prompts for the rule 'difference'"
                )
            if self.rule != "difference" and c.negative:
                raise ValueError(
                    f"class {c.name!r} has negative prompts, which the rule {self.rule!r} does "
                    "not use: take them out, or set rule: difference"
                )
        if self.rule == "softmax" and len(self.classes) < 2:
            raise ValueError("the rule 'softmax' needs two classes or more")
        decided = [m for m in self.metrics if m in ("balanced_accuracy", "weighted_f1")]
        if self.rule == "positive" and decided:
            raise ValueError(
                f"the metric {decided[0]!r} needs a decision, and the rule 'positive' makes none "
                "(a cosine has no threshold of its own): set rule: difference or softmax"
            )
        return self

    def texts(self, prompts: tuple[str, ...], prefix: str) -> tuple[str, ...]:
        """Every prompt in every template, without repeats."""
        filled = (
            template.replace("{prefix}", prefix).replace("{c}", prompt)
            for prompt in prompts
            for template in self.templates
        )
        return tuple(dict.fromkeys(filled))


def benchmark_names() -> tuple[str, ...]:
    """Benchmarks that come with the project."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


def find_benchmark(name: str) -> Benchmark:
    """A benchmark that comes with the project, by name, or one of the user's own, by path."""
    return load_benchmark(data_file.find(name, FOLDER, "eval.benchmarks: no benchmark"))


def load_benchmark(file: Path) -> Benchmark:
    """Read and check one file. Raises UserError with file, line and key."""
    what = "a benchmark maps keys (name, title, classes, ...)"
    return data_file.read(file, Benchmark, ClassPrompts, what)
