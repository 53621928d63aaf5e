"""Radiology reports for the synthetic cohort: findings in, free text out.

In: the head of a study (what is planted) and a random generator.
Out: one report in varied wording: history, technique, findings, impression, boilerplate.
Idea: a positive finding is stated under FINDINGS with side, place and size, and again, shortly,
under IMPRESSION, as radiologists do; absent findings are sometimes negated, normal structures
described, and irrelevant ones (sinuses, age) mentioned. All names are invented.
"""

from __future__ import annotations

import numpy as np

from ingest.phantom import FINDINGS, Finding, Head

MASS = ("mass", "tumour", "mass lesion", "neoplasm")
BLEED = ("haemorrhage", "hemorrhage", "haematoma", "bleed")
INFARCT = ("infarct", "infarction", "ischaemic infarct", "ischemic stroke")
LARGE = ("ventriculomegaly", "hydrocephalus", "ventricular enlargement")
SHIFT = ("midline shift", "shift of the midline")

POSITIVE = {
    "mass": (
        "There is a {size} {noun} in the {place}.",
        "A round {place} {noun} measures {size} in diameter.",
        "{place} {noun}, {size}, with surrounding vasogenic oedema.",
        "{size} ring-enhancing {noun} of the {place} with an oedema rim.",
    ),
    "haemorrhage": (
        "There is a {side} extra-axial {noun} up to {size} thick.",
        "A lentiform {noun} along the {side} convexity measures {size}.",
        "{side} convexity {noun} of {size} thickness.",
        "Crescentic {side} extra-axial {noun}, {size}.",
    ),
    "infarct": (
        "There is a wedge-shaped {noun} in the {place}.",
        "A {place} {noun} reaches the cortex and measures {size}.",
        "{place} wedge-shaped {noun} with restricted diffusion.",
        "Restricted diffusion in the {place}, consistent with {noun}.",
    ),
    "ventriculomegaly": (
        "There is {grade} {noun}.",
        "The lateral ventricles are enlarged, in keeping with {grade} {noun}.",
        "{grade} {noun}, both lateral ventricles being affected.",
        "Both lateral ventricles are dilated; {noun}.",
    ),
    "midline_shift": (
        "There is {size} of {noun} to the {side}.",
        "{noun} to the {side} measuring {size}.",
        "The septum pellucidum is displaced to the {side}; {noun} of {size}.",
        "{size} {side}ward {noun}.",
    ),
}
SHORT = {
    "mass": ("{place} {noun}.", "{side} sided {noun}.", "{noun} in the {place}, {size}."),
    "haemorrhage": ("{side} {noun}.", "{side} extra-axial {noun}, {size}.", "Acute {side} {noun}."),
    "infarct": ("{place} {noun}.", "Acute {side} {noun}.", "{side} sided {noun}."),
    "ventriculomegaly": ("{grade} {noun}.", "{noun}.", "Findings of {grade} {noun}."),
    "midline_shift": ("{noun} to the {side}.", "{size} {noun}.", "{noun}, {size} to the {side}."),
}
NOUNS = dict(zip(FINDINGS, (MASS, BLEED, INFARCT, LARGE, SHIFT), strict=True))
NEGATIVE = {
    "mass": ("No {noun}.", "No intracranial {noun} is seen.", "No evidence of a {noun}."),
    "haemorrhage": ("No {noun}.", "No intracranial {noun}.", "There is no acute {noun}."),
    "infarct": ("No {noun}.", "No acute {noun}.", "No evidence of {noun}."),
    "ventriculomegaly": (
        "The ventricles are normal in size.",
        "No {noun}.",
        "Ventricular size is within normal limits.",
    ),
    "midline_shift": ("No {noun}.", "There is no {noun}.", "The midline is central."),
}
NORMAL = (
    "Normal MRI of the brain.",
    "No acute intracranial abnormality.",
    "Unremarkable study.",
    "Normal study.",
    "No intracranial pathology identified.",
)
DISTRACTORS = (
    "The orbits are unremarkable.",
    "Mastoid air cells are clear.",
    "The pituitary gland is unremarkable.",
    "Normal flow voids of the large vessels.",
    "The calvarium is intact.",
    "The craniocervical junction is normal.",
)
SINUS_SMALL = ("The paranasal sinuses are clear.", "Clear paranasal sinuses.")
SINUS_LARGE = (
    "Mucosal thickening of the paranasal sinuses.",
    "Opacification of the frontal and ethmoid sinuses.",
    "Incidental sinus mucosal thickening.",
)
HISTORIES = ("Headache.", "Dizziness.", "Follow-up.", "Confusion.", "Fall.", "Seizure.")
BOILERPLATE = (
    "Dictated by Dr. Example{n}, radiology resident.",
    "Findings were communicated to Dr. Sample{n} by telephone at {hour}:15.",
    "Electronically signed by Dr. Phantom{n}.",
    "I have personally reviewed the images and agree with the above report.",
    "This report was generated with voice recognition software.",
)
SIZE_STEP_MM = 5  # readers round
SINUS_LARGE_MM = 18.0  # from this radius on a reader would mention the sinuses


def write_report(head: Head, contrasts: tuple[str, ...], rng: np.random.Generator) -> str:
    """A report on the head, true to what is planted, in one of several layouts."""
    findings = [_describe(f, POSITIVE[f.kind], rng) for f in head.findings]
    findings += _negations(head, rng)
    sinus = SINUS_LARGE if head.sinus_size_mm > SINUS_LARGE_MM else SINUS_SMALL
    findings.append(_pick(sinus if rng.random() < 0.5 else DISTRACTORS, rng))
    rng.shuffle(findings)

    impression = _impression(head, rng)
    technique = f"Multiplanar MRI of the brain: {', '.join(contrasts)}."
    boilerplate = _pick(BOILERPLATE, rng).format(n=rng.integers(1, 9), hour=rng.integers(8, 19))
    return _lay_out(technique, findings, impression, boilerplate, rng)


def _describe(finding: Finding, templates: tuple[str, ...], rng: np.random.Generator) -> str:
    """One sentence on a finding with its side, place and size."""
    diameter_mm = finding.size_mm * (2 if finding.kind == "mass" else 1)
    size_mm = SIZE_STEP_MM * round(diameter_mm / SIZE_STEP_MM)
    size = f"{size_mm} mm" if rng.random() < 0.6 else f"{size_mm / 10:.1f} cm"
    text = _pick(templates, rng).format(
        noun=_pick(NOUNS[finding.kind], rng),
        side=finding.side,
        place=f"{finding.side} {_lobe(finding)} lobe".strip(),
        size=size,
        grade="moderate" if finding.size_mm < 1.9 else "marked",
    )
    return text[0].upper() + text[1:]


def _lobe(finding: Finding) -> str:
    """The lobe that a radiologist would name, from the position in the head."""
    ahead_mm = finding.centre_mm[1] + 40 * finding.direction[1]  # y rises towards the back
    return "frontal" if ahead_mm < -8 else "parietal" if ahead_mm < 20 else "occipital"


def _impression(head: Head, rng: np.random.Generator) -> list[str]:
    """What matters, shortly: all findings in one sentence, or a sentence each."""
    if not head.findings:
        return [_pick(NORMAL, rng)]
    found = list(head.findings)
    rng.shuffle(found)
    if rng.random() < 0.6:
        parts = [f"{f.side} {_pick(NOUNS[f.kind], rng)}".strip() for f in found]
        text = _enumerate(parts, "and")
        return [text[0].upper() + text[1:] + "."]
    return [_describe(f, SHORT[f.kind], rng) for f in found]


def _negations(head: Head, rng: np.random.Generator) -> list[str]:
    """One sentence denying an absent finding, or several of them in a list."""
    absent = [kind for kind in FINDINGS if head.find(kind) is None]
    rng.shuffle(absent)
    if not absent:
        return []
    if len(absent) > 1 and rng.random() < 0.6:
        listed = absent[: rng.integers(2, len(absent) + 1)]
        return [f"No {_enumerate([_pick(NOUNS[kind], rng) for kind in listed], 'or')}."]
    return [_pick(NEGATIVE[absent[0]], rng).format(noun=_pick(NOUNS[absent[0]], rng))]


def _enumerate(parts: list[str], word: str) -> str:
    """As in: a; a and b; a, b and c."""
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _lay_out(
    technique: str,
    findings: list[str],
    impression: list[str],
    boilerplate: str,
    rng: np.random.Generator,
) -> str:
    """Put the sections together: upper or title case, in paragraphs or lists."""
    layout = rng.integers(0, 4)
    history = _pick(HISTORIES, rng)
    if layout == 0:
        parts = [f"HISTORY: {history}", f"TECHNIQUE: {technique}"]
        parts += [f"FINDINGS: {' '.join(findings)}", f"IMPRESSION: {' '.join(impression)}"]
        return "\n".join([*parts, boilerplate])
    if layout == 1:
        numbered = [f"{i}. {s}" for i, s in enumerate(impression, 1)]
        parts = ["MRI BRAIN", "", "TECHNIQUE:", technique, "", "FINDINGS:", " ".join(findings)]
        return "\n".join([*parts, "", "IMPRESSION:", *numbered, "", boilerplate])
    if layout == 2:
        dashed = [f"- {s}" for s in findings]
        parts = [f"Clinical indication: {history}", f"Technique: {technique}", "Findings:"]
        return "\n".join([*parts, *dashed, f"Impression: {' '.join(impression)}", boilerplate])
    parts = ["EXAM: MRI HEAD", f"TECHNIQUE: {technique}", "COMPARISON: None.", "", "FINDINGS:"]
    return "\n".join([*parts, *findings, "", "IMPRESSION:", *impression, "", boilerplate])


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
