"""Benchmark files: those that come with the project, one of the user's own, and what can be wrong
in it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from eval.prompts import FOLDER, Benchmark, benchmark_names, find_benchmark, load_benchmark
from study.errors import UserError

OWN = """\
name: bleeding
title: Haemorrhage on our ward
rule: difference
metrics: [auc, balanced_accuracy]
templates: ["{prefix}{c}.", "This CT shows {c}."]
classes:
  - name: haemorrhage
    label: ich
    positive: [haemorrhage, a bleed]
    negative: [no haemorrhage]
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", benchmark_names())
def test_ours_are_valid_and_named_as_their_files(name: str) -> None:
    benchmark = find_benchmark(name)
    assert benchmark.name == name
    for c in benchmark.classes:
        for text in benchmark.texts(c.positive, "This study shows: "):
            assert text.startswith("This study shows: ")
            assert "{" not in text


def test_demo_asks_for_the_planted_findings() -> None:
    labels = [c.label for c in find_benchmark("demo").classes]
    assert labels == ["mass", "haemorrhage", "infarct", "ventriculomegaly", "midline_shift"]


def test_facts_excludes_one_modality_by_the_other() -> None:
    facts = find_benchmark("facts")
    assert facts.rule == "softmax"
    assert [c.label for c in facts.classes] == ["ct", "mr"]


def test_texts_fill_every_template_once(tmp_path: Path) -> None:
    benchmark = find_benchmark(str(written(tmp_path, OWN)))
    texts = benchmark.texts(benchmark.classes[0].positive, "This study shows: ")
    assert texts == (
        "This study shows: haemorrhage.",
        "This CT shows haemorrhage.",
        "This study shows: a bleed.",
        "This CT shows a bleed.",
    )
    assert benchmark.texts(("x", "x"), "") == ("x.", "This CT shows x.")


def test_a_prompt_may_hold_the_word_prefix() -> None:
    """Prompts are put in, not formatted: braces in them stay as they are."""
    facts = find_benchmark("facts")
    assert facts.texts(("{prefix} {x}",), "P: ") == ("P: {prefix} {x}",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title:", "titel:"), "line 2: unknown key 'titel'; did you mean 'title'?"),
        (("label:", "lable:"), "line 8: unknown key 'classes.0.lable'; did you mean 'label'?"),
        (("title: Haemorrhage on our ward\n", ""), "'title' is missing"),
        (
            ("rule: difference", "rule: cosine"),
            "line 3: rule cannot be 'cosine' (there are: positive",
        ),
        (("balanced_accuracy", "accuracy"), "line 4: metrics.1 cannot be 'accuracy'"),
        (("This CT shows {c}.", "This CT."), "has no {c}"),
        (("This CT shows {c}.", "{d}: {c}."), "only {c} and {prefix}"),
        (("    negative: [no haemorrhage]\n", ""), "class 'haemorrhage' needs negative prompts"),
        (("rule: difference", "rule: softmax"), "which the rule 'softmax' does not use"),
        (("name: bleeding", "name: ../bleeding"), "line 1: name"),
        (("name: bleeding", "name: a\nname: b"), "line 2: name is given twice"),
        (("[haemorrhage, a bleed]", "[]"), "line 9: classes.0.positive"),
        (("[haemorrhage, a bleed]", "haemorrhage"), "a list, as in [one, two]"),
        (("classes:", "classes: ["), "is not valid YAML"),
    ],
)
def test_errors_name_file_line_and_key(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    file = written(tmp_path, OWN.replace(*change))
    with pytest.raises(UserError) as error:
        load_benchmark(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_a_cosine_makes_no_decision() -> None:
    one = {"name": "a", "label": "a", "positive": ["a"]}
    with pytest.raises(ValueError, match="makes none"):
        Benchmark.model_validate(
            {"name": "x", "title": "x", "metrics": ["weighted_f1"], "classes": [one]}
        )


def test_classes_have_names_of_their_own() -> None:
    one = {"name": "a", "label": "a", "positive": ["a"]}
    with pytest.raises(ValueError, match="two classes have the name 'a'"):
        Benchmark.model_validate({"name": "x", "title": "x", "classes": [one, one]})


def test_unknown_benchmark_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no benchmark 'dmo'; did you mean 'demo'\? .*demo, facts"):
        find_benchmark("dmo")
    with pytest.raises(UserError, match="a benchmark maps keys"):
        load_benchmark(written(tmp_path, "- one\n- two\n"))
    with pytest.raises(UserError, match="cannot read"):
        load_benchmark(tmp_path)


def test_the_folder_holds_benchmarks_only() -> None:
    assert {file.suffix for file in FOLDER.iterdir()} == {".yaml"}


def test_the_example_in_the_documentation_works(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "benchmarks.md"
    example = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    benchmark = load_benchmark(written(tmp_path, textwrap.dedent(example)))
    assert [c.label for c in benchmark.classes] == ["ich", "fracture"]
