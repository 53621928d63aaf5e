from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from ingest import cohort_reports
from ingest.offline import summarize
from ingest.phantom import draw_head

REPORT = """EXAM: MRI of the brain.
TECHNIQUE: Multiplanar sequences were obtained.
COMPARISON: None.

FINDINGS:
1. There is a 3.5 x 2.1 cm. mass in the left frontal lobe, e.g. a meningioma.
2. No haemorrhage. The ventricles are normal
   in size.
- Dr. Smith was notified.

IMPRESSION: Left frontal mass.

Electronically signed by Dr. A. Nobody.
"""
SENTENCES = [
    "There is a 3.5 x 2.1 cm. mass in the left frontal lobe, e.g. a meningioma.",
    "No haemorrhage.",
    "The ventricles are normal in size.",
    "Left frontal mass.",
]


def test_sections_lists_and_sentences() -> None:
    assert summarize(REPORT) == SENTENCES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "TECHNIQUE: CT was performed.",
        "Electronically signed by X.",
        "FINDINGS:\n",
        "FINDINGS:\nLIVER:\nIMPRESSION:\n1.\n2.",
        "FINDINGS: See impression. IMPRESSION: See above.",
        "EXAM: CT HEAD\nHISTORY: Headache, no mass is seen on the prior study.",
        "Preliminary report: pending attending review.",
        "CT HEAD WITHOUT CONTRAST\nFINDINGS: None.",
        "Dictated by: Dr. A. Nobody\nTranscribed: 1/2/2020",
        "\0\f\ufeff",
    ],
)
def test_empty_and_boilerplate_reports_are_missing_reports(text: str) -> None:
    assert summarize(text) == []


def test_a_report_without_headers_is_all_findings() -> None:
    assert summarize("No acute bleed. Small infarct on the right.") == [
        "No acute bleed.",
        "Small infarct on the right.",
    ]


def test_repeated_sentences_come_once() -> None:
    assert summarize("FINDINGS: No bleed.\nIMPRESSION: NO BLEED") == ["No bleed."]


def test_the_same_words_under_two_labels_are_two_statements() -> None:
    assert summarize("FINDINGS:\nLIVER: No focal lesion.\nSPLEEN: No focal lesion.") == [
        "LIVER: No focal lesion.",
        "SPLEEN: No focal lesion.",
    ]


def test_a_label_goes_to_those_of_its_words_that_do_not_say_what_they_are_about() -> None:
    text = "FINDINGS:\nRIGHT KIDNEY: 5 mm stone. Simple cyst. The left kidney is normal. No mass."
    assert summarize(text)[:3] == [
        "RIGHT KIDNEY: 5 mm stone.",
        "RIGHT KIDNEY: Simple cyst.",
        "The left kidney is normal.",
    ]


def test_numbered_items_without_a_space() -> None:
    assert summarize("IMPRESSION:\n1.Diverticulosis.\n2.Normal appendix.") == [
        "Diverticulosis.",
        "Normal appendix.",
    ]


def test_numbers_within_a_line_are_a_list_only_where_they_count_up() -> None:
    assert summarize("IMPRESSION: 1. Mass at L4. 2. Edema. 3. 5 mm nodule.") == [
        "Mass at L4.",
        "Edema.",
        "5 mm nodule.",
    ]
    assert summarize("FINDINGS: Stenosis of vessel no. 2. The rest is patent.") == [
        "Stenosis of vessel no. 2.",
        "The rest is patent.",
    ]


def test_a_sub_item_that_makes_no_sense_alone_stays_with_its_item() -> None:
    text = "IMPRESSION:\n1. Left adrenal nodule.\n   - previously 1.1 cm\n   - Normal right adrenal"
    assert summarize(text) == ["Left adrenal nodule. previously 1.1 cm.", "Normal right adrenal."]


def test_findings_after_another_title_are_found_where_there_is_none_of_their_own() -> None:
    text = (
        "TECHNIQUE: Axial CT images were obtained. The liver is normal. It measures 14 cm.\n\n"
        "No ascites is seen.\n\nIMPRESSION: Normal."
    )
    assert summarize(text) == [
        "The liver is normal.",
        "It measures 14 cm.",
        "No ascites is seen.",
        "Normal.",
    ]


def test_a_decimal_is_no_number_of_a_list() -> None:
    sentences = ["No mass.", "1.5 cm leftward midline shift.", "2.5 cm cyst."]
    assert summarize(f"FINDINGS: {' '.join(sentences)}") == sentences
    assert summarize("IMPRESSION:\n1.5 cm cyst\n2.5 cm mass") == ["1.5 cm cyst.", "2.5 cm mass."]


def test_reports_of_the_synthetic_cohort_give_back_what_was_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[list[str]] = []
    lay_out = cohort_reports._lay_out

    def noted(
        technique: str, findings: list[str], impression: list[str], end: str, rng: Generator
    ) -> str:
        said.append([*findings, *impression])
        return lay_out(technique, findings, impression, end, rng)

    monkeypatch.setattr(cohort_reports, "_lay_out", noted)
    for patient in range(150):
        rng = default_rng(patient)
        report = cohort_reports.write_report(draw_head(0, patient), ("T1", "FLAIR"), rng)
        assert {s.lower() for s in summarize(report)} == {s.lower() for s in said[-1]}, report


LINE = st.text(st.sampled_from(list("aAbZ .:;,-*1(2)\t\"?|_#<>&'\u2022\u3002")), max_size=30)


@given(st.lists(LINE, max_size=12).map("\n".join))
def test_no_text_raises_and_no_sentence_is_bare(text: str) -> None:
    found = summarize(f"FINDINGS: {text}")
    assert len({s.lower() for s in found}) == len(found)
    for sentence in found:
        assert "\n" not in sentence
        assert "\t" not in sentence
        assert sum(c.isalpha() for c in sentence) >= 2


@given(st.lists(st.sampled_from(SENTENCES), unique=True))
def test_sentences_of_a_list_are_found_again(chosen: list[str]) -> None:
    lines = [f"{number}. {sentence}" for number, sentence in enumerate(chosen, 1)]
    assert summarize("\n".join(["HISTORY: Pain.", "IMPRESSION:", *lines])) == chosen
    assert summarize(f"HISTORY: Pain. IMPRESSION: {' '.join(lines)}") == chosen


UNITS = [
    "a", "A", " ", "\t", "\n", ":", ". ", ".", "(", '"', '" A', "1. ", "1) a ", "- ",
    "  \u2022", "A: ", "A\n", "A\tb\n", "FINDINGS: ", "Technique: a. ", "TECHNIQUE: a\nb\n",
    "<", "<!--", "&lt;", ".,A", "[", "| a | b |\n", "|-", "L4-5: ", "\u3002", "Dr. ",
    "No mass. ", "images were ", "the image of a ", "discussed with ", "mL contrast ",
    "evaluation of ", "\u00c3", "A  B", "#",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear_in_the_length_of_any_text(unit: str) -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        summarize(unit * (length // len(unit)))
        return time.process_time() - began

    seconds(1_000)
    assert seconds(60_000) < 5  # a quadratic pattern needs minutes


def test_a_text_of_five_megabytes_is_read_to_its_end() -> None:
    began = time.process_time()
    text = "FINDINGS: " + "There is a 3 mm nodule in the left lower lobe, unchanged. " * 85_000
    assert summarize(f"{text}\n\nIMPRESSION: Stable nodule.") == [
        "There is a 3 mm nodule in the left lower lobe, unchanged.",
        "Stable nodule.",
    ]
    assert time.process_time() - began < 60
