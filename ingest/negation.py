"""Which words of a sentence a negation reaches.

In: words and punctuation of one sentence. Out: for each whether it is denied. A negation has a
scope, as in NegEx (Chapman et al. 2001): from the denying word to the next clause, or backwards for
"is not seen"; one within another cancels.
"""

from __future__ import annotations

from ingest.vocabulary import VOCABULARY, Kind, stem, words

DENYING = words(
    """
    no without absence lack never neither nor not denies kein keine keinen keiner keinem ohne
    sans aucun aucune sin sem senza nessun nessuna geen zonder ingen inga utan brak bez absent
    resolved resolution negative free nicht niet
    """
)
NEEDS_OF = {"absence": "of", "lack": "of", "resolution": "of", "negative": "for", "free": "of"}
"""Words that deny what follows only with this word after them."""
BACKWARD = words("absent none resolved excluded negative nil removed")
"""Words that deny what stands before them."""
SEEN = words(
    """
    seen visible visualized visualised identified present detected demonstrated evident found
    appreciated observed noted shown apparent suspected recognized suggested
    """
)
COPULA = words("is are was were be been has have had")
STOPS = words(
    """
    . ; : | but however although though except aside apart there which with because due given
    yet while whereas as unchanged
    """
)
HEDGES = words("likely probably possibly suspicious consistent compatible suggestive probable")
PREPOSITIONS = words("of in from within along on")
ARTICLES = words("the a an this these there")


DOUBT = words("possible possibly may might could questionable perhaps conceivably")
"""Words after which a finding is one possibility."""
CAUTIOUS = frozenset(
    stem(word)
    for word in words(
        """
        possible possibly may might could questionable perhaps likely probable probably suspicious
        suspected suspicion suspect concern concerning worrisome suggest suggests suggestive
        suggesting consistent compatible represent represents representing raise raises raising
        favor favored unlikely versus vs presumed presumably presumptive potential potentially
        indeterminate appears appear indicate indicates question differential or if
        """
    )
)
"""Words by which a sentence leaves room for doubt, as stems."""
DOUBT_REACH = 6
"""Words that a word of doubt reaches."""


def doubted(said: list[str]) -> frozenset[int]:
    """Places of the words that a word of doubt reaches: those after it, or all where it is last."""
    reached: set[int] = set()
    for at, word in enumerate(said):
        if word not in DOUBT:
            continue
        after = range(at + 1, min(at + 1 + DOUBT_REACH, len(said)))
        ends = next((n for n in after if said[n] in (".", ";", ":", ",")), after.stop)
        reached.update(range(at + 1, ends) if ends > at + 1 else range(at))
    return frozenset(reached)


def denied(said: list[str]) -> list[bool]:
    """For each word whether a negation reaches it."""
    reached = [False] * len(said)
    reach = 0
    for at, word in enumerate(said):
        if word not in DENYING and word not in BACKWARD:
            continue
        following = said[at + 1] if at + 1 < len(said) else "."
        if word in NEEDS_OF and following != NEEDS_OF[word] and word not in BACKWARD:
            continue
        not_seen = word == "not" and _seen(said[at + 1 : at + 4])
        backward = not_seen or (word in BACKWARD and _ends_clause(said, at))
        if backward:
            first = at
            while first > 0 and not _begins_clause(said, first, at):
                first -= 1
            for n in range(first, at):
                reached[n] = True
        elif word in DENYING and at >= reach - 1:
            last = at + 1
            while last < len(said) and not _stops(said, last, at):
                reached[last] = not reached[last]
                last += 1
            reach = last
    return reached


def _seen(following: list[str]) -> bool:
    """Whether the said after "not" are those of "not clearly seen"."""
    verbs = [w for w in following if not w.endswith("ly") and w not in ("well", "be")]
    return bool(verbs) and verbs[0] in SEEN


def _ends_clause(said: list[str], at: int) -> bool:
    """Whether a denying word speaks of what came before it: "is absent", "effusion: none"."""
    before = said[at - 1] if at else ""
    following = said[at + 1] if at + 1 < len(said) else "."
    if NEEDS_OF.get(said[at]) == following:
        return False
    return before in COPULA or before == ":" or following in ".;," or said[at] == "none"


def _begins_clause(said: list[str], first: int, at: int) -> bool:
    """Whether the clause that ends at `at` begins with the word `first`."""
    before = said[first - 1]
    if before == ":":
        return first != at
    if before in ".;|" or before in ("but", "however", "although"):
        return True
    return before in (",", "and") and said[first] in ARTICLES


def _stops(said: list[str], last: int, start: int) -> bool:
    """Whether a negation that began at `start` ends before the word `last`."""
    word = said[last]
    if word == "there" and last <= start + 3:
        return False
    if word in STOPS or (word in COPULA and last > start + 1):
        return True
    if word in ("without", "no") and last > start + 1:
        return True
    following = said[last + 1] if last + 1 < len(said) else ""
    if word in PREPOSITIONS and following == "the" and last > start + 2:
        return True
    if word == "," and _new_claim(following, said[last + 2 : last + 3]):
        return True
    return word == "and" and (following in ARTICLES or following == "#n")


def _new_claim(first: str, second: list[str]) -> bool:
    """Whether the said after a comma begin a claim of their own: "no bleed, mild atrophy"."""
    concept = VOCABULARY.get(first, ("", Kind.WORD))[0]
    return (
        first in ARTICLES
        or first[:1] == "#"
        or first in HEDGES
        or (first in ("and", "but") and bool(second) and second[0] in ARTICLES)
        or concept.startswith(("degree:", "age:old", "change:"))
    )
