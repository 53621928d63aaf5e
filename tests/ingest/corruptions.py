"""Sentences made false on purpose, by seed: what the check of sentences must catch.

In: an honest sentence, its report, a random generator. Out: the sentence with one thing changed, or
None where there is nothing of that kind to change. The rules of the check are not used here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Corruption = Callable[[str, str, random.Random], str | None]

NEGATED = [
    (r"\bNo evidence (?:of|for) ", "Evidence of "), (r"\bno evidence (?:of|for) ", "evidence of "),
    (r"\bNo ", "There is "), (r"\bthere is no ", "there is "), (r"\bThere is no ", "There is "),
    (r"\bThere are no ", "There are "), (r"\bno ", "a "), (r"\bwithout ", "with "),
    (r"\b(is|are|was|were) not ", r"\1 "), (r"\bdo(?:es)? not ", ""), (r"\bNegative for ", "Positive for "),
    (r"\bNeither (\w+ \w+) nor ", r"Both \1 and "), (r"\b(is|are) absent\b", r"\1 present"),
    (r"\bhas resolved\b", "is still present"), (r"\bcannot be (?:excluded|ruled out)\b", "is ruled out"),
    (r"\bunremarkable\b", "abnormal"), (r"\b(N|n)ormal\b", lambda m: "Abnormal" if m[1] == "N" else "abnormal"),
    (r"\bintact\b", "disrupted"), (r"\b[Cc]lear\b(?! of)", "opacified"), (r"\bpatent\b", "occluded"),
]  # fmt: skip
AFFIRMED = [
    (r"\bThere (is|are) (?!no\b)(?:an? )?", r"There \1 no "),
    (r"\b(is|are|was|were) (?=(?:again |also |still )?(?:seen|present|noted|identified|evident|visible|observed)\b)", r"\1 not "),
    (r"\b(measures|contains|shows|demonstrates|involves|compresses)\b", lambda m: {"measures": "is not seen, measuring", "contains": "does not contain", "shows": "does not show", "demonstrates": "does not demonstrate", "involves": "does not involve", "compresses": "does not compress"}[m[1]]),
    (r"\b(is|are) (?=(?:mildly |markedly |slightly |moderately |diffusely )?(?:enlarged|dilated|thickened|atrophic|narrowed|torn|ruptured|displaced|distended|calcified)\b)", r"\1 not "),
    (r"^(?:An? |The )?(?!\w+ly )(?=[a-z]+(?: [a-z,-]+)* (?:in|of|with)\b)(?!.*\b(?:is|are|was|were|has|have|may|can|not|no|without)\b)", "No evidence of "),
]  # fmt: skip
SIDES = {
    "left": "right", "right": "left", "leftward": "rightward", "rightward": "leftward",
    "left-sided": "right-sided", "right-sided": "left-sided",
}  # fmt: skip
BOTH = {"bilateral": ("left", "right"), "both": ("the left", "the right")}
NUMBER = re.compile(r"(?<![\w.#/-])\d+(?:\.\d+)?(?=\s?-?(?:mm|cm|%|HU|ml|mL|percent|x\b)|[ .,;)]|$)")
UNIT = re.compile(r"(?<=\d)([\s-]?)(mm|cm)\b")
LEVEL = re.compile(r"\b([CTL])(\d{1,2})([-/])([CTLS]?)(\d{1,2})\b")
COUNTS = ["two", "three", "four", "five", "six", "seven"]
COUNT = re.compile(r"\b(?:two|three|four|five|six|seven)\b", re.I)

INVENTED = {
    "head": [
        ("acute subdural hematoma", "subdural"), ("hemorrhagic contusion", "contusion"), ("ring-enhancing lesion", "ring"),
        ("cerebellar tonsillar herniation", "tonsillar"), ("colloid cyst", "colloid"), ("venous sinus thrombosis", "thrombos"),
        ("meningioma", "meningioma"), ("dense basilar artery", "basilar"), ("communicating hydrocephalus", "hydroceph"),
        ("basilar tip aneurysm", "aneurysm"), ("pneumocephalus", "pneumoceph"), ("mastoid effusion", "mastoid"),
        ("encephalomalacia", "encephalomal"), ("cavernous malformation", "malformation"), ("air-fluid level in the sphenoid sinus", "sphenoid"),
    ],
    "chest": [
        ("pericardial effusion", "pericardial"), ("pneumothorax", "pneumothorax"), ("cavitary lesion", "cavit"), ("rib fracture", "rib"),
        ("aortic aneurysm", "aneurysm"), ("lobar pneumonia", "pneumonia"), ("tracheal stenosis", "trachea"), ("thymoma", "thym"),
        ("pulmonary edema", "edema"), ("empyema", "empyema"), ("esophageal thickening", "esophag"), ("mosaic attenuation", "mosaic"),
        ("bronchiectasis", "bronchiect"), ("pleural plaques", "plaque"), ("tree-in-bud nodularity", "tree"),
    ],
    "abdomen": [
        ("portal vein thrombosis", "portal"), ("hepatic abscess", "abscess"), ("splenic infarct", "infarct"), ("pancreatic pseudocyst", "pseudocyst"),
        ("renal cell carcinoma", "carcinoma"), ("bowel perforation", "perforat"), ("adrenal adenoma", "adenoma"), ("ascites", "ascites"),
        ("choledocholithiasis", "choledocho"), ("volvulus", "volvulus"), ("intussusception", "intussus"), ("pyelonephritis", "pyelo"),
        ("gastric wall thickening", "gastric"), ("hepatic hemangioma", "hemangioma"), ("crohn ileitis", "ileitis"),
    ],
    "spine": [
        ("burst fracture", "burst"), ("epidural abscess", "abscess"), ("syrinx", "syrinx"), ("vertebral hemangioma", "hemangioma"),
        ("spondylodiscitis", "discitis"), ("arachnoiditis", "arachnoid"), ("pars defect", "pars"), ("synovial cyst", "synovial"),
        ("cord infarct", "infarct"), ("sacral insufficiency fracture", "insufficiency"), ("ligamentous injury", "injur"), ("scoliosis", "scoliosis"),
    ],
    "neck": [
        ("thyroid nodule", "nodule"), ("carotid dissection", "dissect"), ("parotid mass", "parotid"), ("sialolithiasis", "sialo"),
        ("jugular thrombosis", "thrombo"), ("branchial cleft cyst", "branchial"), ("vocal cord paralysis", "paraly"), ("ranula", "ranula"),
    ],
    "limb": [
        ("stress fracture", "stress"), ("osteosarcoma", "sarcoma"), ("loose body", "loose"), ("septic arthritis", "septic"),
        ("ganglion cyst", "ganglion"), ("osteonecrosis", "necrosis"), ("synovitis", "synov"), ("bone infarct", "infarct"),
    ],
}  # fmt: skip
REGION = {
    "head": r"head|brain|stroke", "chest": r"chest|ctpa|thora", "spine": r"spine|lumbar|cervical|cord",
    "neck": r"neck|epiglott", "limb": r"knee|shoulder", "abdomen": r"abdomen|pelvis|kub|liver|sigmoid|hysterect",
}  # fmt: skip
ADJECTIVES = ["small", "large", "mild", "", "", "11 mm", "3.2 cm", "left", "right"]
PARTS = [
    ("kidney", "liver"), ("renal", "splenic"), ("liver", "spleen"), ("hepatic", "renal"), ("spleen", "pancreas"), ("gallbladder", "bladder"),
    ("bladder", "uterus"), ("frontal", "occipital"), ("parietal", "temporal"), ("temporal", "parietal"), ("cerebellum", "thalamus"),
    ("thalamus", "pons"), ("maxillary", "ethmoid"), ("lower lobe", "upper lobe"), ("upper lobe", "lower lobe"), ("middle lobe", "lower lobe"),
    ("upper pole", "lower pole"), ("lower pole", "upper pole"), ("pleural", "pericardial"), ("medial", "lateral"), ("lateral meniscus", "medial meniscus"),
    ("anterior", "posterior"), ("posterior", "anterior"), ("sigmoid", "cecum"), ("small bowel", "stomach"), ("appendix", "duodenum"),
    ("adrenal", "pancreatic"), ("pancreas", "adrenal"), ("ovary", "uterus"), ("heart", "aorta"), ("aorta", "heart"), ("mediastinal", "axillary"),
    ("lumbar", "thoracic"), ("cervical", "lumbar"), ("thoracic", "lumbar"), ("scalp", "orbit"), ("mastoid", "orbit"), ("hip", "knee"), ("tendon", "muscle"),
]  # fmt: skip
DEGREES = [
    ("mild", "severe"), ("mildly", "severely"), ("severe", "mild"), ("moderate", "severe"), ("marked", "minimal"),
    ("small", "large"), ("large", "small"), ("minimal", "marked"), ("acute", "chronic"), ("old", "acute"), ("chronic", "acute"),
    ("stable", "enlarging"), ("unchanged", "increased"), ("advanced", "mild"), ("proximal", "distal"),
]  # fmt: skip


def negation(sentence: str, report: str, rng: random.Random) -> str | None:
    """One negation taken away, or one put in."""
    options = [
        changed
        for pattern, new in NEGATED
        for m in [re.search(pattern, sentence)]
        if m
        for changed in [sentence[: m.start()] + m.expand(new) + sentence[m.end() :] if isinstance(new, str) else sentence[: m.start()] + new(m) + sentence[m.end() :]]
    ]  # fmt: skip
    if not options:
        for pattern, new in AFFIRMED:
            plain = sentence[0].lower() + sentence[1:] if "^" in pattern else sentence
            changed, times = re.subn(pattern, new, plain, count=1)
            if times:
                options.append(changed)
    return rng.choice(options) if options else None


def side(sentence: str, report: str, rng: random.Random) -> str | None:
    """Left for right throughout; one side for both."""
    words = set(re.findall(r"[a-z-]+", sentence.lower()))
    has = {w for w in words if w in SIDES}
    if not has:
        for word, sides in BOTH.items():
            if word in words:
                return re.sub(rf"\b{word}\b", rng.choice(sides), sentence, flags=re.I)
        return None
    if {w[0] for w in has} == {"l", "r"}:
        return None
    return re.sub(
        r"\b(?:left|right)(?:ward|-sided)?\b", lambda m: SIDES[m[0].lower()], sentence, flags=re.I
    )


def number(sentence: str, report: str, rng: random.Random) -> str | None:
    """One number, count or level made another one that the report does not have."""
    spots = [*NUMBER.finditer(sentence), *LEVEL.finditer(sentence), *COUNT.finditer(sentence)]
    rng.shuffle(spots)
    for spot in spots:
        old = spot[0]
        if old.lower() in COUNTS:
            new = rng.choice([c for c in COUNTS if c != old.lower()])
        elif spot.re is LEVEL:
            shift = rng.choice([-1, 1]) if int(spot[2]) > 2 else 1
            new = f"{spot[1]}{int(spot[2]) + shift}{spot[3]}{spot[1] if spot[4] else ''}{int(spot[2]) + shift + 1}"
        else:
            factor = rng.choice([0.5, 2.0, 3.0, 1.4])
            value = float(old) * factor
            new = f"{value:.1f}" if "." in old else f"{round(value)}"
            if new == old or re.search(rf"(?<![\d.]){re.escape(new)}(?![\d.])", report):
                new = f"{float(old) + 7:.1f}" if "." in old else f"{int(old) + 7}"
        return sentence[: spot.start()] + new + sentence[spot.end() :]
    return None


def unit(sentence: str, report: str, rng: random.Random) -> str | None:
    """mm for cm, with the same number."""
    if not UNIT.search(sentence):
        return None
    return UNIT.sub(lambda m: m[1] + ("cm" if m[2] == "mm" else "mm"), sentence)


def region_of(report: str) -> str:
    counts = {name: len(re.findall(p, report.lower())) for name, p in REGION.items()}
    return max(counts, key=lambda name: (counts[name], name))


def _invented(report: str, rng: random.Random) -> str:
    pool = [f for f, root in INVENTED[region_of(report)] if root not in report.lower()]
    return f"{rng.choice(ADJECTIVES)} {rng.choice(pool)}".strip()


def added(sentence: str, report: str, rng: random.Random) -> str | None:
    """A finding that the report does not have, put into an honest sentence."""
    join = rng.choice([" with {}", " and {}", ", {}", ", with associated {}"])
    return sentence.rstrip(" .") + join.format(_invented(report, rng)) + "."


def invented(sentence: str, report: str, rng: random.Random) -> str | None:
    """A sentence of its own about such a finding."""
    form = rng.choice(["There is a {}.", "{} is seen.", "{}.", "Findings are consistent with {}."])
    text = form.format(_invented(report, rng))
    return text[0].upper() + text[1:]


def body_part(sentence: str, report: str, rng: random.Random) -> str | None:
    """One body part for another."""
    found = [(a, b) for a, b in PARTS if re.search(rf"\b{a}\b", sentence, re.I)]
    if not found:
        return None
    old, new = rng.choice(found)
    return re.sub(rf"\b{old}\b", new, sentence, flags=re.I)


def degree(sentence: str, report: str, rng: random.Random) -> str | None:
    """Mild for severe, old for acute."""
    found = [(a, b) for a, b in DEGREES if re.search(rf"\b{a}\b", sentence, re.I)]
    if not found:
        return None
    old, new = rng.choice(found)
    return re.sub(rf"\b{old}\b", new, sentence, flags=re.I)


KINDS: dict[str, Corruption] = {
    "negation": negation, "side": side, "number": number, "unit": unit, "added": added,
    "invented": invented, "body part": body_part, "degree": degree,
}  # fmt: skip
ASKED_FOR = ("negation", "side", "number", "unit", "added", "invented")
"""What the target of nine in ten is about."""
