"""Whether a report may be summed up as normal.

In: report text. Out: why not, or nothing. The idea: "no significant abnormalities" is the one
sentence that speaks of a whole study, and the worst to get wrong, so it is held against the whole
report: nothing abnormal is asserted anywhere, and something is said to be normal or absent. A
report without either (technique alone; a language whose words are not known) is not called normal.
"""

from __future__ import annotations

from ingest import offline
from ingest.statements import statements
from ingest.vocabulary import Kind

SHOWN = 3
"""Findings that are named."""


def why_not(text: str) -> str:
    """Why a report is not one of a normal study; empty: it is.

    >>> why_not("FINDINGS: Normal ventricles. No mass."), why_not("FINDINGS: A left frontal mass.")
    ('', 'the report tells of mass')
    """
    tokens = [token for s in statements(text) if s.asserted for token in s.tokens]
    abnormal = [t.written for t in tokens if t.kind is Kind.FINDING and not t.denied]
    if abnormal:
        return f"the report tells of {', '.join(dict.fromkeys(abnormal[:SHOWN]))}"
    says_so = any(t.kind is Kind.NORMAL or (t.kind is Kind.FINDING and t.denied) for t in tokens)
    if not says_so or not offline.summarize(text):
        return "the report says nothing of the kind"
    return ""
