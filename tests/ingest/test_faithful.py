from __future__ import annotations

import time
from pathlib import Path

import corruptions
import faithfulness
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.claims import parsed
from ingest.faithful import Unsupported, check
from ingest.measures import marked
from ingest.statements import statements

REPORT = """EXAM: CT head, abdomen and spine.
INDICATION: Rule out splenic laceration.
FINDINGS:
There is a 2.1 x 1.4 cm hypodense lesion in the left kidney. The right kidney is normal.
Acute right subdural hematoma, 11 mm. No midline shift, hydrocephalus or infarct.
Old infarct in the left cerebellum. A small abscess in the liver cannot be excluded.
L4-5: Mild disc bulge. Severe stenosis on the left.
L5-S1: No disc bulge.
Pleural effusion: none. Previously seen ascites has resolved. Both ovaries are enlarged.
Three gallstones are present. The uterus is not seen.
"""


@pytest.mark.parametrize(
    "sentence",
    [
        "Left renal lesion of low attenuation measuring 21 x 14 mm.",
        "Unremarkable right kidney.",
        "Acute SDH on the right, 1.1 cm thick.",
        "There is no shift of the midline.",
        "Neither hydrocephalus nor infarction.",
        "Chronic left cerebellar infarct.",
        "Possible small hepatic abscess.",
        "Mild bulging of the disc at L4/L5.",
        "No disc bulging at L5-S1.",
        "No pleural effusion.",
        "There is no longer any ascites.",
        "Bilateral ovarian enlargement.",
        "Cholelithiasis with 3 stones.",
        "The uterus is not visualized.",
        "Acute right subdural hemorrhage without midline shift.",
    ],
)
def test_honest_paraphrases_are_kept(sentence: str) -> None:
    assert check([sentence], REPORT).dropped == ()


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("A 2.1 x 1.4 mm lesion in the left kidney.", Unsupported.NUMBER),
        ("A 3.1 x 1.4 cm lesion in the left kidney.", Unsupported.NUMBER),
        ("Four gallstones are present.", Unsupported.NUMBER),
        ("Mild disc bulge at L3-4.", Unsupported.NUMBER),
        ("A hypodense lesion in the right kidney.", Unsupported.SIDE),
        ("Acute left subdural hematoma, 11 mm.", Unsupported.SIDE),
        ("Acute bilateral subdural hematoma.", Unsupported.SIDE),
        ("The right kidney is abnormal.", Unsupported.NEGATION),
        ("Midline shift is present.", Unsupported.NEGATION),
        ("No subdural hematoma.", Unsupported.NEGATION),
        ("Disc bulge at L5-S1.", Unsupported.NEGATION),
        ("There is ascites.", Unsupported.NEGATION),
        ("The uterus is seen.", Unsupported.NEGATION),
        ("An abscess in the liver is excluded.", Unsupported.NEGATION),
        ("A hypodense lesion in the spleen.", Unsupported.BODY_PART),
        ("Severe disc bulge at L4-5.", Unsupported.DEGREE),
        ("Acute infarct in the left cerebellum.", Unsupported.DEGREE),
        ("Small hepatic abscess.", Unsupported.DEGREE),
        ("Hiatal hernia.", Unsupported.BODY_PART),
        ("Three gallstones with cholecystitis.", Unsupported.WORDS),
        ("Splenic laceration.", Unsupported.WORDS),
        ("...", Unsupported.EMPTY),
    ],
)
def test_false_sentences_are_dropped_with_their_reason(sentence: str, reason: Unsupported) -> None:
    checked = check([sentence], REPORT)
    assert [d.reason for d in checked.dropped] == [reason]
    assert checked.dropped[0].sentence == sentence
    assert checked.kept == ()


def test_a_repetition_is_dropped_but_not_lost() -> None:
    checked = check(["Three gallstones.", "three GALLSTONES", "Hiatal hernia.", ""], REPORT)
    assert checked.kept == ("Three gallstones.",)
    assert [d.reason for d in checked.dropped] == [
        Unsupported.REPEATED,
        Unsupported.BODY_PART,
        Unsupported.EMPTY,
    ]
    assert checked.lost_share == pytest.approx(2 / 3)
    assert check([], REPORT).lost_share == 0.0


def test_a_part_of_a_statement_is_not_verbatim() -> None:
    report = "There is no\nevidence of hemorrhage. The liver is not enlarged."
    assert check(["evidence of hemorrhage", "enlarged"], report).kept == ()


@pytest.mark.parametrize(
    "report",
    [
        "Befund: Kein Nachweis einer Blutung. Links frontal 12 mm grosse Raumforderung.",
        "Hallazgos: Sin evidencia de hemorragia. Quiste renal izquierdo de 2,5 cm.",
        "R\u00e9sultats : Pas de fracture. \u00c9panchement pleural droit minime.",
        "\u6240\u89c1\uff1a\u53f3\u80ba\u4e0a\u53f6\u7ed3\u8282\uff0c8mm\u3002\u672a\u89c1\u80f8\u8154\u79ef\u6db2\u3002",
    ],
)
def test_verbatim_sentences_of_any_language_are_kept(report: str) -> None:
    sentences = [s.text for s in statements(report)]
    assert len(sentences) >= 2
    assert check(sentences, report).kept == tuple(sentences)


VOCABULARY = "no left right mass kidney liver 3 mm without seen not of the normal L4-5 and , mild"
WORDS = st.sampled_from(VOCABULARY.split())
SENTENCES = st.lists(WORDS, min_size=2, max_size=8).map(lambda w: f"The {' '.join(w)} end.")


@given(st.lists(SENTENCES, min_size=1, max_size=6, unique=True))
def test_whatever_a_report_says_is_supported_by_it(sentences: list[str]) -> None:
    assert check(sentences, "FINDINGS: " + " ".join(sentences)).kept == tuple(sentences)


@given(st.lists(st.text(max_size=60), max_size=4), st.text(max_size=300))
def test_any_text_is_checked_and_every_sentence_accounted_for(
    sentences: list[str], report: str
) -> None:
    checked = check(sentences, report)
    assert sorted([*checked.kept, *(d.sentence for d in checked.dropped)]) == sorted(sentences)
    assert 0.0 <= checked.lost_share <= 1.0
    assert check(sentences, report) == checked


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_length_is_the_same_in_any_unit(first_mm: int, second_mm: int) -> None:
    in_cm = f"{first_mm / 10:g} x {second_mm / 10:g} cm"
    assert marked(in_cm).split() == marked(f"{first_mm} x {second_mm} mm").split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("thirteen millimeter", ["#mm:13"]),
        ("3.7 cm transversely x 3.4 ap", ["#mm:37", "#mm:34"]),
        ("l4/5", ["#level:l4-l5"]),
        ("the sixth thoracic vertebra", ["#level:t6"]),
        ("bosniak ii", ["#n:2"]),
        ("5 to 8 mm", ["#mm:5", "#mm:8"]),
        ("2,5 cm", ["#mm:25"]),
        ("on 10/20/05 at 3 pm", ["#date", "#n:3"]),
    ],
)
def test_numbers_in_words_ranges_and_levels(text: str, tokens: list[str]) -> None:
    assert [w for w in marked(text).split() if w[0] == "#"] == tokens


@pytest.mark.parametrize(
    ("sentence", "denied", "stated"),
    [
        ("No mass, edema or fracture, mild atrophy.", {"mass", "edema", "fracture"}, {"atrophy"}),
        ("Atrophy without infarct but a cyst.", {"infarct"}, {"atrophy", "cyst"}),
        ("A fracture is not seen.", {"fracture"}, set()),
        ("Abscess cannot be excluded.", set(), {"abscess"}),
        ("No significant change in the cyst.", set(), {"cyst"}),
        ("Negative for embolism.", {"embolus"}, set()),
        ("Hemorrhage: none.", {"hemorrhage"}, set()),
        ("Nondisplaced fracture.", {"shift"}, {"fracture"}),
        ("The effusion has resolved.", {"effusion"}, set()),
    ],
)
def test_negation_reaches_what_it_denies(sentence: str, denied: set[str], stated: set[str]) -> None:
    findings = [t for t in parsed(sentence).tokens if t.kind == "finding"]
    assert {t.concept for t in findings if t.denied} == denied
    assert {t.concept for t in findings if not t.denied} == stated


def assert_targets(found: list[faithfulness.Case]) -> None:
    """The targets of the issue, and that there is enough to tell."""
    lost, caught = faithfulness.lost(found), faithfulness.asked_for(faithfulness.caught(found))
    assert lost.of >= 40
    assert caught.of >= 400
    assert lost.share <= 0.10
    assert caught.share >= 0.90


def test_targets_on_the_reports_that_rules_were_fitted_on() -> None:
    assert_targets([c for c in faithfulness.cases({}) if c.share == "fitted on"])


def test_targets_on_later_batches() -> None:
    assert_targets([c for c in faithfulness.cases({}) if c.batch])


@pytest.mark.real
@pytest.mark.parametrize("share", ["fitted on", "held out"])
def test_targets_with_real_reports(real_data: Path, share: str) -> None:
    real = faithfulness.real_texts(real_data)
    assert_targets([c for c in faithfulness.cases(real) if c.share == share])


@pytest.mark.real
def test_every_statement_of_a_real_report_is_kept(real_data: Path) -> None:
    for text in faithfulness.real_texts(real_data).values():
        sentences = list(dict.fromkeys(s.text for s in statements(text)))
        assert [d for d in check(sentences, text).dropped if d.reason != "empty"] == [
            d for d in check(sentences, text).dropped if d.reason == "repeated"
        ]


def test_time_grows_with_the_report_no_faster_than_its_length() -> None:
    cases = list(faithfulness.cases({}))
    text = "\n".join(c.text for c in cases[:4])
    sentences = [s for c in cases[:4] for s in c.paraphrases][:15]

    def seconds(report: str) -> float:
        start = time.process_time()
        check(sentences, report)
        return time.process_time() - start

    seconds(text)
    short = min(seconds(text) for _ in range(5))
    long = min(seconds(text * 16) for _ in range(3))
    assert long < 16 * 3 * short


def test_corruptions_change_what_is_said() -> None:
    """The measure itself: every kind of corruption is applied somewhere, none to nothing."""
    counts = faithfulness.caught(list(faithfulness.cases({}))[:6])
    assert {kind for _, kind in counts} == set(corruptions.KINDS)
    assert all(count.of > 0 for count in counts.values())
