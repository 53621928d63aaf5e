from __future__ import annotations

import pytest

from ingest.offline import summarize

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


def test_sections_lists_and_sentences() -> None:
    assert summarize(REPORT) == [
        "There is a 3.5 x 2.1 cm. mass in the left frontal lobe, e.g. a meningioma.",
        "No haemorrhage.",
        "The ventricles are normal in size.",
        "Left frontal mass.",
    ]


@pytest.mark.parametrize(
    "text",
    ["", "   \n", "TECHNIQUE: CT was performed.", "Electronically signed by X.", "FINDINGS:\n"],
)
def test_empty_and_boilerplate_reports_are_missing_reports(text: str) -> None:
    assert summarize(text) == []


def test_a_report_without_headers_is_all_findings() -> None:
    assert summarize("No acute bleed. Small infarct on the right.") == [
        "No acute bleed.",
        "Small infarct on the right.",
    ]


def test_repeated_sentences_come_once() -> None:
    assert summarize("FINDINGS: No bleed.\nIMPRESSION: No bleed.") == ["No bleed."]


def test_numbered_items_without_a_space() -> None:
    assert summarize("IMPRESSION:\n1.Diverticulosis.\n2.Normal appendix.") == [
        "Diverticulosis.",
        "Normal appendix.",
    ]
