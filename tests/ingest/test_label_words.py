"""Labels by words: held to invented reports, to templates of every label, and to real reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingest import offline
from ingest.assertion import asserted
from ingest.label_phrases import matches
from ingest.label_set import Answer, LabelSet, find_label_set, label_set_names
from ingest.label_words import offline_labels

REPORTS = yaml.safe_load(Path(__file__).with_name("label_reports.yaml").read_text())
SAID = {"there": Answer.YES, "denied": Answer.NO, "doubtful": Answer.UNCERTAIN}
CHEST = find_label_set("ct-rate")
FINDINGS = [label.name for label in CHEST.labels]
BRAIN = [
    *("subdural hemorrhage", "epidural hemorrhage", "subarachnoid hemorrhage"),
    *("intraventricular hemorrhage", "intraparenchymal hemorrhage"),
]


def expected(row: dict[str, Any], label_set: LabelSet) -> dict[str, Answer]:
    wanted = dict.fromkeys(label_set.names, Answer.ABSENT)
    for field, answer in SAID.items():
        wanted |= dict.fromkeys(row.get(field, ()), answer)
    return wanted


@pytest.mark.parametrize("row", REPORTS, ids=[row["text"][:60] for row in REPORTS])
def test_invented_reports(row: dict[str, Any]) -> None:
    label_set = find_label_set(row["set"])
    found = offline_labels(offline.summarize(row["text"]), label_set)
    assert (found or dict.fromkeys(label_set.names, Answer.ABSENT)) == expected(row, label_set)


def test_invented_reports_are_many_and_of_every_set() -> None:
    assert len(REPORTS) > 80
    assert {row["set"] for row in REPORTS} == set(label_set_names())
    for row in REPORTS:
        assert set(expected(row, find_label_set(row["set"]))) == set(
            find_label_set(row["set"]).names
        )


TEMPLATES = {
    Answer.YES: (
        "There is {}.", "{} is present.", "{} is again seen.", "Stable {}.", "Findings: {}.",
        "Mild {} on the right.", "Findings are consistent with {}.", "{} is unchanged.",
        "No significant change in {}.", "No pneumothorax, mild {}.", "There is likely {}.",
        "No mass, but there is {}.", "{} without change.",
    ),
    Answer.NO: (
        "No {}.", "No evidence of {}.", "There is no {}.", "{} is not seen.", "Without {}.",
        "{} was not observed.", "{}: none.", "{} is absent.", "{} has resolved.",
        "Negative for {}.", "No mass, infarct or {}.", "There isn't any {}.", "Resolution of {}.",
        "Free of {}.", "{} is no longer seen.", "The study does not show {}.", "No definite {}.",
    ),
    Answer.UNCERTAIN: (
        "Possible {}.", "{} cannot be excluded.", "Findings may represent {}.", "Suspected {}.",
        "Suspicious for {}.", "Questionable {}.", "{}?", "{} is suspected.", "This could be {}.",
        "Cannot exclude {}.", "{} is not excluded.", "{} is unlikely.",
    ),
    Answer.ABSENT: (
        "History of {}.", "Family history of {}.", "Rule out {}.", "Evaluate for {}.",
        "No new {}.", "The father had {}.", "Status post treatment of {}.", "If there is {}, call.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "template"), [(a, t) for a, templates in TEMPLATES.items() for t in templates]
)
def test_every_name_in_every_template(answer: Answer, template: str) -> None:
    """The published name of a label, in a sentence that states, denies or doubts it."""
    for name in FINDINGS:
        sentence = template.format(name.lower())
        assert offline_labels([sentence], CHEST)[name] is answer, sentence
    for name in BRAIN:
        sentence = template.format(name)
        found = offline_labels([sentence], find_label_set("rsna-ich"))[name.split()[0]]
        assert found is answer, sentence


@given(
    st.lists(st.sampled_from([row["text"] for row in REPORTS]), min_size=1, max_size=4), st.data()
)
def test_the_order_of_sentences_changes_nothing(texts: list[str], data: st.DataObject) -> None:
    sentences = [sentence for text in texts for sentence in offline.summarize(text)]
    found = offline_labels(sentences, CHEST)
    assert offline_labels(data.draw(st.permutations(sentences)), CHEST) == found
    assert offline_labels([s.upper() for s in sentences], CHEST) == found


@given(st.lists(st.text(max_size=80), max_size=5), st.sampled_from(label_set_names()))
def test_any_text_has_an_answer_for_every_label(sentences: list[str], name: str) -> None:
    label_set = find_label_set(name)
    found = offline_labels(sentences, label_set)
    assert tuple(found) == (label_set.names if sentences else ())
    assert set(label_set.values(found).values()) <= {0.0, 0.5, 1.0}


def test_a_report_without_sentences_has_no_labels() -> None:
    """A missing report is never a normal one, also where silence is a no."""
    assert CHEST.absent == "no"
    assert CHEST.values(offline_labels([], CHEST)) == {}
    assert set(CHEST.values(offline_labels(["The lungs are clear."], CHEST)).values()) == {0.0}


@pytest.mark.parametrize(
    ("sentence", "phrase", "heads"),
    [
        ("pleural and pericardial effusion", "pleura* effusion", [3]),
        ("pleural thickening and pericardial effusion", "pleura* effusion", []),
        ("pericardial effusion, pleural thickening", "pleura* effusion", []),
        ("thyroid nodule and lung nodule", "thyroid nodule", [1]),
        ("nodules in the left lobe of the thyroid", "thyroid nodule", [0]),
        ("effusion. pleura normal", "pleura* effusion", []),
        ("left subdural, epidural or subarachnoid hematoma", "subdural hematoma", [6]),
        ("haematoma, extra-axial", "hematoma", [0]),
    ],
)
def test_where_phrases_stand(sentence: str, phrase: str, heads: list[int]) -> None:
    assert [m.head for m in matches(asserted(sentence).words, [phrase])] == heads


def test_a_long_list_of_words_takes_no_time_that_grows_with_its_square() -> None:
    """A hundred thousand words without a full stop are read in parts."""
    sentence = "no pleural effusion, history of nodules, " * 500 + "there is emphysema"
    assert offline_labels([sentence], CHEST)["Emphysema"] is Answer.YES


@pytest.mark.real
def test_real_reports_of_ct_rate(real_data: Path) -> None:
    """Seven reports with the labels that CT-RATE gives them; two of those are for what the report
    doubts or denies (a node "that did not reach the pathological size"), and one is lacking."""
    file = real_data / "reports" / "real_reports_by_nc_sa.jsonl"
    rows = [json.loads(line) for line in file.open(encoding="utf-8")]
    true = np.array([[name in row["labels"] for name in FINDINGS] for row in rows])
    said = [offline_labels(offline.summarize(row["text"]), CHEST) for row in rows]
    found = np.array([[labels[name] is Answer.YES for name in FINDINGS] for labels in said])
    assert true.sum() >= 20
    assert (found & true).sum() / true.sum() >= 0.9
    assert (found & true).sum() / found.sum() >= 0.95
