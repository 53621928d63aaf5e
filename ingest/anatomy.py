"""Words that name a part of the body, or a place within it, as they begin.

In: a word or a phrase. Out: whether it names anatomy. A label that is anatomy ("LUNGS:") says what
the words after it are about; a sentence that names anatomy itself needs no such label. English
first; the commonest organs of German, French, Spanish and Turkish reports.
"""

from __future__ import annotations

import re

from ingest.common_words import words as word_set

STEMS = word_set(
    "pericholecyst cholecyst perinephr perirenal periportal peripancrea paraaort paracav brain "
    "bile biliary spleen cerebr cerebell hemispher ventric sulc sulci gyri cistern calvari skull "
    "cranio crani "
    "scalp orbit globe optic sinus mastoid petrous temporal frontal parietal occipital pituitar "
    "sella suprasell pons pontine midbrain medulla thalam basal gangli caudate putamen hippocamp "
    "corpus callosum matter gray grey cort cranial nerve mening dura extraaxial extra-axial "
    "midline parenchym fossa posterior clivus foramen tonsil chiasm intracranial tympanic ear "
    "cochlea vestibul maxill mandib nasal paranas nasophar sinonasal facial face temporomandib "
    "tmj dental "
    "teeth zygom neck thyroid parathyroid pharyn oropharyn hypopharyn laryn epiglott parotid "
    "submandib salivary gland tongue palate cord carotid jugular airway glott aryepiglott "
    "vallecul lung pulmon lobe lingula pleur bronch trache mediastin hilum hila hilar heart cardi "
    "myocard pericard coronar valve atri aort artery arteries arterial vein venous vena cava "
    "vessel vascul esophag oesophag chest thora rib stern clavic scapul axill breast diaphragm "
    "thymus lad lcx rca abdom liver hepat hepatobil bil gallbladder duct cbd pancrea splen "
    "adrenal suprarenal kidney renal nephr ureter bladder prostat semin uter cervix endometri "
    "ovar adnex vagina testic scrot bowel colon colonic cecum caecum rect sigmoid appendi stomach "
    "gastr duoden jejun ileum ileal gi mesent periton retroperiton omentum pelvi inguin "
    "groin gu genitourin reproduct urinary perine anus anal lymph node nodal "
    "lymphadenopath bone bony osse osteo skelet musculoskelet marrow spin vertebr disc disk "
    "endplate facet foramin canal conus cauda thecal sacr sacrum iliac ilium lumbar cervic dorsal "
    "coccyx hip femur femor acetabul knee patell tibia tibial fibul ankle foot hindfoot shoulder "
    "humer glenoid rotator elbow wrist hand carpal muscle muscul ligament tendon menisc cruciate "
    "cartilage synovi soft tissue skin subcutan paraspinal paravertebral prevertebral "
    "craniovertebral alignment extremit joint capsul bursa labrum collateral retinac lines tubes "
    "catheter devices hardware"
)
FOREIGN_STEMS = word_set(
    "lunge pulmo herz leber milz niere nebenniere pankreas gallenblase gallenwege magen darm "
    "harnblase hirn liquor schädel knochen wirbel weichteil gefäß lymphknoten schilddrüse poumon "
    "foie rate rein surrénal pancréas vésicule cœur coeur cerveau os osseux rachis pulmón "
    "pulmones hígado bazo riñón riñones páncreas vesícula corazón cerebro huesos akciğer "
    "karaciğer dalak böbrek pankreas safra mesane kalp beyin kemik"
)
SHORT = word_set("bil gi gu ear os rate rein lad lcx rca cbd face anal node disc disk")
"""Whole words only: longer words that begin so are something else."""
NEUTRAL = word_set(
    "whole entire total and or the of in at both upper lower left right bilateral superior "
    "inferior anterior medial "
    "lateral central peripheral proximal distal deep superficial main major great large small "
    "visualized visualised visible imaged included other others remaining remainder rest "
    "surrounding adjacent structures structure spaces space system systems tract organs organ "
    "region regions area wall walls base bases cavity contents content cells air limited images "
    "views outflow tree ducts tissues signal attenuation size thickness extra axial soft body "
    "bodies level levels heights height white portion portions part parts support base skull "
    "apices apex field fields zones lobes segments chain & und et y ve der des du re li rechts "
    "links droit gauche derecho izquierdo sağ"
)
"""Words that may stand in a label without naming anatomy themselves."""
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
DISEASE = re.compile(
    r"(?:itis|megaly|iasis|osis|oses|opathy|ectasi[as]|penia|oma|omas|emia|aemia|trophy|ectomy|cele"
    r"|ectopia|sclerosis|lysis|listhesis|edema|oedema|physema|thorax|rads)$"
)
"""Ends of words for what an organ has, not for the organ: "Hepatomegaly" is no label."""
ORGAN_AFTER_ALL = word_set("thorax hemithorax")
LEVEL = re.compile(
    r"(?:at |level )?(?:the )?[CTLS]\d{1,2}(?: ?[-\u2013/] ?[CTLS]?\d{1,2})?(?: levels?)?", re.I
)
"""A level of the spine: C4-5, L5/S1, T12."""
RANGE = re.compile(r"\b[CTL]\d{1,2} ?[-\u2013/] ?[CTLS]?\d{1,2}\b")
"""A level within a sentence; a single one may be a nerve root's."""
NUMBERED = re.compile(
    r"(?:target |index )?(?:lesion|nodule|mass|node|aneurysm|segment|stone|collection|metastasis)"
    r" ?(?:no\.? ?)?#? ?\d{1,3}",
    re.I,
)
SIDES = word_set("right left bilateral both rechts links beidseits droit gauche")

_STEMS = tuple(
    sorted({stem for stem in [*STEMS, *FOREIGN_STEMS] if stem not in SHORT}, key=len, reverse=True)
)
_STEM = re.compile(f"(?:{'|'.join(map(re.escape, _STEMS))})", re.I)


def names_anatomy(phrase: str) -> bool:
    """Whether any word of a phrase begins as a part of the body does."""
    return any(_is_anatomy(word) for word in WORD.findall(phrase))


def is_anatomy_label(title: str) -> bool:
    """Whether a title is nothing but anatomy: "Lower thorax", "Skull base, sella and TMJs"."""
    words = [word.lower() for word in WORD.findall(title)]
    named = [word for word in words if _is_organ(word)]
    return bool(named) and all(word in NEUTRAL or _is_organ(word) for word in words)


def is_level(title: str) -> bool:
    """Whether a title is a level of the spine, or one of several lesions."""
    title = title.strip()
    return bool(LEVEL.fullmatch(title) or NUMBERED.fullmatch(title))


def says_where(sentence: str, label: str) -> bool:
    """Whether a sentence names anatomy itself, and a side where its label has one."""
    words = {word.lower() for word in WORD.findall(sentence)}
    sided = {word.lower() for word in WORD.findall(label)} & SIDES
    return names_anatomy(sentence) and (not sided or bool(words & SIDES))


def shared_words(label: str, sentence: str) -> bool:
    """Whether a sentence says itself what a label says: a word of its anatomy, and all its "
    "sides."""
    said = {word.lower() for word in WORD.findall(sentence)}
    words = {word.lower() for word in WORD.findall(label)}
    if not words & SIDES <= said:
        return False
    stems = {word[:6].rstrip("s") for word in words - SIDES if _is_anatomy(word)}
    return any(word.startswith(stem) for word in said for stem in stems)


def _is_organ(word: str) -> bool:
    return _is_anatomy(word) and (word in ORGAN_AFTER_ALL or not DISEASE.search(word))


def _is_anatomy(word: str) -> bool:
    word = word.lower()
    return word in SHORT or word.rstrip("s") in SHORT or bool(_STEM.match(word))
