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
    (r"\b[Nn]o evidence (?:of|for) ", "evidence of "),
    (r"\b(?:[Tt]here (?:is|are) no|No) ", "There is "),
    (r"\bno ", "a "),
    (r"\bwithout ", "with "),
    (r"\b(is|are|was|were) not ", r"\1 "),
    (r"\bdo(?:es)? not ", ""),
    (r"\bNegative for ", "Positive for "),
    (r"\b(is|are) absent\b", r"\1 present"),
    (r"\bhas resolved\b", "is still present"),
    (r"\bcannot be (?:excluded|ruled out)\b", "is ruled out"),
    (r"\b(?:unremarkable|[Nn]ormal)\b", "abnormal"),
    (r"\bintact\b", "disrupted"),
    (r"\b[Cc]lear\b(?! of)", "opacified"),
    (r"\bpatent\b", "occluded"),
]
"""What denies, and what stands in its place when it is taken away."""
FOUND = "enlarged|dilated|thickened|atrophic|narrowed|torn|ruptured|displaced|distended|calcified"
VERB = "is|are|was|were|has|have|may|can|not|no|without"
NOUNS = r"[a-z]+(?: [a-z,-]+)* (?:in|of|with)\b"
AFFIRMED = [
    (r"\b[Tt]here (is|are) (?!no\b)(?:an? )?", r"there \1 no "),
    (r"\b(is|are|was|were) (?=(?:again |also )?(?:seen|present|noted|identified)\b)", r"\1 not "),
    (r"\bmeasures\b", "is not seen, measuring"),
    (r"\b(contain|show|demonstrate|involve|compresse?)s\b", r"does not \1"),
    (rf"\b(is|are) (?=(?:[a-z]+ly )?(?:{FOUND})\b)", r"\1 not "),
    (rf"^(?:an? |the )?(?![a-z]+ly )(?={NOUNS})(?!.*\b(?:{VERB})\b)", "No evidence of "),
]
"""What affirms, and what denies in its place; the last for sentences without a verb."""
SIDES = {
    "left": "right", "right": "left", "leftward": "rightward", "rightward": "leftward",
    "left-sided": "right-sided", "right-sided": "left-sided",
}  # fmt: skip
BOTH = {"bilateral": ("left", "right"), "both": ("the left", "the right")}
NUMBER = re.compile(
    r"(?<![\w.#/-])\d+(?:\.\d+)?(?=\s?-?(?:mm|cm|%|HU|ml|mL|percent|x\b)|[ .,;)]|$)"
)
UNIT = re.compile(r"(?<=\d)([\s-]?)(mm|cm)\b")
LEVEL = re.compile(r"\b([CTL])(\d{1,2})([-/])([CTLS]?)(\d{1,2})\b")
COUNTS = ["two", "three", "four", "five", "six", "seven"]
COUNT = re.compile(r"\b(?:two|three|four|five|six|seven)\b", re.I)

INVENTED = """
head: acute subdural hematoma ~ subdural; hemorrhagic contusion ~ contusion
head: ring-enhancing lesion ~ ring
head: cerebellar tonsillar herniation ~ tonsillar; colloid cyst ~ colloid
head: venous sinus thrombosis ~ thrombos; meningioma ~ meningioma; dense basilar artery ~ basilar
head: communicating hydrocephalus ~ hydroceph; basilar tip aneurysm ~ aneurysm
head: pneumocephalus ~ pneumoceph; mastoid effusion ~ mastoid; encephalomalacia ~ encephalomal
head: cavernous malformation ~ malformation; air-fluid level in the sphenoid sinus ~ sphenoid
chest: pericardial effusion ~ pericardial; pneumothorax ~ pneumothorax; cavitary lesion ~ cavit
chest: rib fracture ~ rib; aortic aneurysm ~ aneurysm; lobar pneumonia ~ pneumonia
chest: tracheal stenosis ~ trachea; thymoma ~ thym; pulmonary edema ~ edema; empyema ~ empyema
chest: esophageal thickening ~ esophag; mosaic attenuation ~ mosaic; bronchiectasis ~ bronchiect
chest: pleural plaques ~ plaque; tree-in-bud nodularity ~ tree
abdomen: portal vein thrombosis ~ portal; hepatic abscess ~ abscess; splenic infarct ~ infarct
abdomen: pancreatic pseudocyst ~ pseudocyst
abdomen: renal cell carcinoma ~ carcinoma; bowel perforation ~ perforat
abdomen: adrenal adenoma ~ adenoma; ascites ~ ascites; choledocholithiasis ~ choledocho
abdomen: volvulus ~ volvulus; intussusception ~ intussus; pyelonephritis ~ pyelo
abdomen: gastric wall thickening ~ gastric; hepatic hemangioma ~ hemangioma; crohn ileitis ~ ileitis
spine: burst fracture ~ burst; epidural abscess ~ abscess; syrinx ~ syrinx
spine: vertebral hemangioma ~ hemangioma; spondylodiscitis ~ discitis; arachnoiditis ~ arachnoid
spine: pars defect ~ pars; synovial cyst ~ synovial; cord infarct ~ infarct
spine: sacral insufficiency fracture ~ insufficiency
spine: ligamentous injury ~ injur; scoliosis ~ scoliosis
neck: thyroid nodule ~ nodule; carotid dissection ~ dissect; parotid mass ~ parotid
neck: sialolithiasis ~ sialo; jugular thrombosis ~ thrombo; branchial cleft cyst ~ branchial
neck: vocal cord paralysis ~ paraly; ranula ~ ranula
limb: stress fracture ~ stress; osteosarcoma ~ sarcoma
limb: loose body ~ loose; septic arthritis ~ septic
limb: ganglion cyst ~ ganglion; osteonecrosis ~ necrosis; synovitis ~ synov; bone infarct ~ infarct
"""
"""Plausible findings by region: `region: finding ~ what a report that has it would contain`."""
REGION = {
    "head": r"head|brain|stroke",
    "chest": r"chest|ctpa|thora",
    "spine": r"spine|lumbar|cervical|cord",
    "neck": r"neck|epiglott",
    "limb": r"knee|shoulder",
    "abdomen": r"abdomen|pelvis|kub|liver|sigmoid|hysterect",
}
ADJECTIVES = ["small", "large", "mild", "", "", "11 mm", "3.2 cm", "left", "right"]
PARTS = """
kidney ~ liver; renal ~ splenic; liver ~ spleen; hepatic ~ renal; spleen ~ pancreas
gallbladder ~ bladder; bladder ~ uterus; frontal ~ occipital; parietal ~ temporal
temporal ~ parietal; cerebellum ~ thalamus; thalamus ~ pons; maxillary ~ ethmoid
lower lobe ~ upper lobe; upper lobe ~ lower lobe; middle lobe ~ lower lobe
upper pole ~ lower pole; lower pole ~ upper pole; pleural ~ pericardial; medial ~ lateral
lateral meniscus ~ medial meniscus; anterior ~ posterior; posterior ~ anterior; sigmoid ~ cecum
small bowel ~ stomach; appendix ~ duodenum; adrenal ~ pancreatic; pancreas ~ adrenal
ovary ~ uterus; heart ~ aorta; aorta ~ heart; mediastinal ~ axillary; lumbar ~ thoracic
cervical ~ lumbar; thoracic ~ lumbar; scalp ~ orbit; mastoid ~ orbit; hip ~ knee; tendon ~ muscle
"""
DEGREES = """
mild ~ severe; mildly ~ severely; severe ~ mild; moderate ~ severe; marked ~ minimal
small ~ large; large ~ small; minimal ~ marked; acute ~ chronic; old ~ acute; chronic ~ acute
stable ~ enlarging; unchanged ~ increased; advanced ~ mild; proximal ~ distal
"""


def pairs(table: str) -> list[tuple[str, str]]:
    """`a ~ b; c ~ d` as pairs."""
    found = [entry.partition("~") for entry in re.split(r"[;\n]", table.strip())]
    return [(old.strip(), new.strip()) for old, _, new in found]


def negation(sentence: str, report: str, rng: random.Random) -> str | None:
    """One negation taken away, or else one put in."""
    options = [
        sentence[: match.start()] + match.expand(new) + sentence[match.end() :]
        for pattern, new in NEGATED
        if (match := re.search(pattern, sentence))
    ]
    if not options:
        for pattern, new in AFFIRMED:
            plain = sentence[0].lower() + sentence[1:] if pattern[0] == "^" else sentence
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
            upper = int(spot[2]) + shift
            letter = spot[1] if spot[4] else ""
            new = f"{spot[1]}{upper}{spot[3]}{letter}{upper + 1}"
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
    mark = f"{region_of(report)}: "
    lines = [x.removeprefix(mark) for x in INVENTED.strip().split("\n") if x.startswith(mark)]
    pool = [f for f, root in pairs("\n".join(lines)) if root not in report.lower()]
    return f"{rng.choice(ADJECTIVES)} {rng.choice(pool)}".strip()


def added(sentence: str, report: str, rng: random.Random) -> str | None:
    """A finding that the report does not have, put into an honest sentence."""
    join = rng.choice([" with {}", " and {}", ", {}", ", with associated {}"])
    return sentence.rstrip(" .") + join.format(_invented(report, rng)) + "."


def invented(sentence: str, report: str, rng: random.Random) -> str | None:
    """A sentence of its own about such a finding."""
    form = rng.choice(["There is a {}.", "{} is seen.", "{}.", "Findings consistent with {}."])
    text = form.format(_invented(report, rng))
    return text[0].upper() + text[1:]


def body_part(sentence: str, report: str, rng: random.Random) -> str | None:
    """One body part for another."""
    found = [(a, b) for a, b in pairs(PARTS) if re.search(rf"\b{a}\b", sentence, re.I)]
    if not found:
        return None
    old, new = rng.choice(found)
    return re.sub(rf"\b{old}\b", new, sentence, flags=re.I)


def degree(sentence: str, report: str, rng: random.Random) -> str | None:
    """Mild for severe, old for acute."""
    found = [(a, b) for a, b in pairs(DEGREES) if re.search(rf"\b{a}\b", sentence, re.I)]
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
