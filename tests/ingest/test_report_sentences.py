"""Where a sentence of a report ends, and where it goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.report_sentences import sentences

WHOLE = [
    "A 3.5 x 2.1 cm. mass in the left frontal lobe, e.g. a meningioma.",
    "Growth of the hepatic mass from 2.9 to 3.5 cm (approx. 20.7 %).",
    "Pt. is S/P CABG.",
    "The case was reviewed with Dr. Placeholder.",
    "Nodule no. 2 in the LLL is unchanged, cf. series 4.",
    "Vol. loss in the L. lower lobe, incl. the basal segments.",
    "No. 3 is unchanged.",
    "Edema-inflamed appearance (mediastinitis?) of the fat.",
    "Stable lesions (cyst? hemangioma?) in the liver.",
    "Normal segments (image 4. Series 3).",
    "Bulging at L4-5, L5-S1 vs. L5/S1.",
    "Ca. 8 mm messende Hypodensität li. frontal, z. B. im Rahmen einer älteren Ischämie.",
    "Z. n. Katarakt-OP bds.",
    "V. a. älteren Infarkt links frontal (DD: Artefakt).",
    "Raumforderung im re. Oberlappen.",
    "右肺上葉に結節影を認めます。",
    "THE L. LOWER LOBE IS CLEAR.",
]
SEVERAL = [
    ("The mass is 3.5 x 2.1 cm. It was 2.9 x 1.8 cm. The duct is 0.6 cm.", 3),
    ("At approx. 3 p.m. The lungs are clear.", 2),
    ("Disc bulge at L4-5. There is narrowing at L5-S1. S1 root is free.", 3),
    ("Left Level I. The right is free. Bosniak II. Grade A. No mass.", 5),
    ("Fluid, fat etc. No mass.", 2),
    ("Aortic plaques. abdominal aortic branches are open.", 2),
    ("Appearance (mediastinitis?). A 13x9.3 mm lymph node.", 2),
    ("Mediastinitis? Correlation is recommended.", 2),
    ("Diverticulosis.No bleed. Size 3 cm.Normal.", 4),
    ("胸水は認めません。異常なし。", 2),
    ("未见异常。双肺清晰！", 2),
    ("Nodule of 3 mm. 4 mm nodule. Mean 12.5 HU. Next one.", 4),
]


@pytest.mark.parametrize("sentence", WHOLE)
def test_a_sentence_stays_whole(sentence: str) -> None:
    assert sentences(sentence) == [sentence]


@pytest.mark.parametrize(("text", "number"), SEVERAL)
def test_sentences_are_told_apart(text: str, number: int) -> None:
    found = sentences(text)
    assert len(found) == number
    assert "".join("".join(found).split()) == "".join(text.split())


@given(st.lists(st.sampled_from(WHOLE), max_size=6))
def test_whole_sentences_one_after_the_other_are_found_again(whole: list[str]) -> None:
    latin = [s for s in whole if s.isascii() and not s.endswith("bds.")]
    assert sentences(" ".join(latin)) == latin


@given(st.text())
def test_nothing_is_lost_but_punctuation(text: str) -> None:
    text = " ".join(text.split())
    letters = [c for c in "".join(sentences(text)) if c.isalpha()]
    assert len(letters) <= sum(c.isalpha() for c in text)
