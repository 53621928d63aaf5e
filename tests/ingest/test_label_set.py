from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.label_set import (
    Answer,
    LabelSet,
    find_label_set,
    label_set_names,
    load_label_set,
)
from ingest.label_words import offline_labels
from study.errors import UserError

OWN = """name: ward
version: 3
source: ours
labels:
  - name: bleed
    question: Is there a bleed?
    words: [bleed, hemorrhage]
    includes: [sdh]
  - name: sdh
    question: Is there a subdural hematoma?
    words: [subdural hematoma]
"""


def test_bundled_sets_have_the_published_names() -> None:
    names = {name: find_label_set(name).names for name in label_set_names()}
    assert {name: len(labels) for name, labels in names.items()} == {
        "ct-rate": 18, "rad-chestct": 15, "cq500": 14, "rsna-ich": 6, "pub-brain-5": 5,
    }  # fmt: skip
    left_out = {"Mosaic attenuation pattern", "Medical material", "Lymphadenopathy"}
    assert set(names["ct-rate"]) - set(names["rad-chestct"]) == left_out
    assert set(names["rad-chestct"]) < set(names["ct-rate"])
    assert names["pub-brain-5"] == ("Normal", "Stroke", "Glioma", "Meningioma", "Metastasis")
    assert set(names["rsna-ich"]) == {
        "any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural",
    }  # fmt: skip


@pytest.mark.real
def test_names_are_those_of_the_reports_that_have_labels(real_data: Path) -> None:
    import json

    file = real_data / "reports" / "real_reports_by_nc_sa.jsonl"
    there = {name for line in file.open(encoding="utf-8") for name in json.loads(line)["labels"]}
    assert there
    assert there <= set(find_label_set("ct-rate").names)


@pytest.mark.parametrize("name", label_set_names())
def test_every_label_of_a_bundled_set_can_be_found(name: str) -> None:
    """Each phrase of it, as a sentence, says yes; but for one that stands for something else."""
    label_set = find_label_set(name)
    assert label_set.name == name
    assert label_set.absent == "no"
    for label in label_set.labels:
        assert label.question.endswith("?")
        assert label.normal != bool(label.words)
        for phrase in label.words:
            first = " ".join(word.split("|")[0].rstrip("*") for word in phrase.split())
            found = offline_labels([f"There is {first}."], label_set)[label.name]
            assert found is Answer.YES, (label.name, phrase)


def test_own_set_by_path(tmp_path: Path) -> None:
    file = tmp_path / "ward.yaml"
    file.write_text(OWN)
    found = find_label_set(str(file))
    assert (found.title, found.names, found.absent) == ("ward-3", ("bleed", "sdh"), "unknown")
    said = offline_labels(["Left subdural hematoma."], found)
    assert found.values(said) == {"bleed": 1.0, "sdh": 1.0}
    assert found.values(offline_labels(["The sinuses are clear."], found)) == {}
    file.write_text(OWN + "absent: no\n")  # which YAML reads as false
    assert load_label_set(file).absent == "no"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    question: Is there a bleed?\n", "", "line 5: 'labels.0.question' is missing"),
        ("name: bleed", "name: 1 bleed", "line 5: labels.0.name: '1 bleed' cannot be the name"),
        ("name: bleed", "name: id 123456", "no five digits in a row"),
        ("name: sdh", "name: bleed", "two labels have the name 'bleed'"),
        ("includes: [sdh]", "includes: [edh]", "'bleed' includes 'edh', which is none of it"),
        ("includes: [sdh]", "includes: [bleed]", "'bleed' includes itself"),
        ("includes: [sdh]", "include: [sdh]", "'labels.0.include'; did you mean 'includes'"),
        ("[subdural hematoma]", "subdural", "line 11: labels.1.words must be a list"),
        ("[subdural hematoma]", "['subdural |']", r"labels.1.words.*holds no letter"),
        ("version: 3", "version: new", "line 2: version"),
        ("source: ours", "absent: maybe\nsource: ours", "line 3: absent"),
        ("source: ours", "source: ours\nsource: theirs", "line 4: source is given twice"),
        ("labels:", "labels: [", "is not valid YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_line_and_key(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    file = tmp_path / "ward.yaml"
    file.write_text(OWN.replace(old, new, 1))
    with pytest.raises(UserError, match=told) as error:
        load_label_set(file)
    assert str(file) in str(error.value)


def test_no_such_set() -> None:
    with pytest.raises(UserError, match="no label set 'ctrate'; did you mean 'ct-rate'"):
        find_label_set("ctrate")


ANSWERS = st.sampled_from(Answer)


@given(st.fixed_dictionaries(dict.fromkeys(find_label_set("cq500").names, ANSWERS)))
def test_answers_fit_each_other(answers: dict[str, Answer]) -> None:
    label_set = find_label_set("cq500")
    found = label_set.with_included(answers)
    assert label_set.with_included(found) == found
    for label in label_set.labels:
        below = {found[name] for name in label.includes}
        if Answer.YES in below:
            assert found[label.name] is Answer.YES
        if label.includes and found[label.name] is Answer.NO:
            assert below == {Answer.NO}
        if not label.includes and answers[label.name] is not Answer.ABSENT:
            assert found[label.name] is answers[label.name]


def test_the_digest_tells_every_change(tmp_path: Path) -> None:
    file = tmp_path / "ward.yaml"
    file.write_text(OWN)
    digests = {load_label_set(file).digest}
    for old, new in (("a bleed?", "any bleed?"), ("hemorrhage]", "blood]"), ("3", "4")):
        file.write_text(OWN.replace(old, new, 1))
        digests.add(load_label_set(file).digest)
    assert len(digests) == 4


def test_a_set_is_frozen_and_hashable() -> None:
    assert isinstance(find_label_set("cq500"), LabelSet)
    assert hash(find_label_set("cq500")) == hash(find_label_set("cq500"))
