"""Whether a report is written in English, by the little words in it.

In: folded text (see `folded`). Out: a yes or no; a text without little words ("CT head. Normal.")
is English where nothing says otherwise but letters of another script.
"""

from __future__ import annotations

import re

from ingest.common_words import words

ENGLISH = words(
    """
    and are been but by for from has have is no not of on or seen the there this to was were which
    with within without evidence normal findings impression right left
    """
)
OTHERS = words(
    """
    aan al als aus auf bei bir con da das dans daki de degildir dei dem den der des di die do du e
    een ein eine einer el en es est et fur gibi grosse het ile im ist izlendi izlenmedi kein keine
    la las le les links los mais mit na nach nao nel nicht niet non o olarak os ou para pas per por
    que rechts se sem sich sin sind sol sono su sur sag um un una und une van ve veya voor vom von
    wird y zu zum zur
    """
)
"""Of German, French, Spanish, Italian, Portuguese, Dutch and Turkish."""
WORD = re.compile(r"[^\W\d_]+")


def is_english(text: str) -> bool:
    """
    >>> is_english("No evidence of a bleed."), is_english("Kein Nachweis einer Blutung.")
    (True, False)
    """
    found = [word.lower() for word in WORD.findall(text)]
    ours = sum(word in ENGLISH for word in found)
    theirs = sum(word in OTHERS for word in found)
    if ours or theirs:
        return ours > theirs
    return text.isascii()
