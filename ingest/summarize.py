"""Reports -> sentences by a language model, each held against its report.

In: report texts, a `Summarizer` of the settings, the folder of its answers. Out: `Summary` of each:
sentences that the report supports, those that it does not with the reason, and a flag where too
many were lost. The idea: a model proposes, the report decides (`ingest.faithful`). Nothing that
stands in a report, and nothing that a model makes of it, can do more than add a sentence to that
report's own list, and only one that the report supports.

A report without a letter is never sent. One that a model calls normal counts as normal only if
`ingest.normal` agrees: technique and signatures alone are a missing report, whatever a model makes
of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ingest import llm_prompt
from ingest import normal as normal_study
from ingest.faithful import Checked, Dropped, Unsupported, check
from ingest.llm_cache import Cache, Failure, key_of
from ingest.llm_prompt import Prompt, Question
from ingest.planted import without_instructions
from study.errors import UserError
from study.llm_sections import Summarizer

FOLDER = "llm"
"""Of the run folder: answers and batches."""
FIELD = "sentences"
MAX_SENTENCES = 1000
"""Of one report; what follows is not a list of findings any more."""
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Soft hyphen, zero-width space, word joiner, byte order mark: within words."""
JOINERS = "\u200c\u200d"
"""Part of the spelling in Persian and Indic scripts."""


@dataclass(frozen=True)
class Summary:
    """What a summariser made of a report."""

    sentences: tuple[str, ...] = ()
    """Supported by the report, in the order of the answer."""
    dropped: tuple[Dropped, ...] = ()
    flagged: bool = False
    """More than `max_lost_share` of the sentences were dropped, or the report speaks to a machine
    (`ingest.planted`): someone should look."""
    failure: Failure | None = None
    """Why there is no answer; the rule-based sentences remain."""


def summary_of(text: str, summarizer: Summarizer, cache: Cache) -> Summary | None:
    """The summary of a report, checked against it; None: it was not asked yet. Same text, same
    cache, same summary."""
    question = Question(prompt_of(summarizer), text)
    if question.is_empty:
        return Summary()
    settled = cache.get(key_of(question, summarizer))
    if settled is None:
        return None
    if settled.answer is None:
        return Summary(failure=settled.failure)
    return checked(settled.answer[FIELD], text, question.prompt, summarizer.max_lost_share)


def checked(answer: list[str], text: str, prompt: Prompt, max_lost_share: float) -> Summary:
    """Sentences of an answer held against their report."""
    sentences = [line for line in map(_one_line, answer[:MAX_SENTENCES]) if line]
    source = without_instructions(text)
    result = _normal_or(sentences, source, prompt.normal)
    return Summary(
        sentences=result.kept,
        dropped=result.dropped,
        flagged=result.lost_share > max_lost_share or source != text,
    )


def _normal_or(sentences: list[str], source: str, normal: str) -> Checked:
    """Check sentences, of which one may be the one for a normal study: it is held against the whole
    report, and stands alone or not at all."""
    others = [sentence for sentence in sentences if _bare(sentence) != _bare(normal)]
    if not normal or len(others) == len(sentences):
        return check(sentences, source)
    why = normal_study.why_not(source) or ("it does not stand alone" if others else "")
    if not why:
        return Checked((normal,), ())
    result = check(others, source)
    return Checked(result.kept, (Dropped(normal, Unsupported.NEGATION, why), *result.dropped))


def _bare(sentence: str) -> str:
    return sentence.strip(" .").casefold()


def _one_line(sentence: str) -> str:
    """A sentence without line breaks, other control characters and surplus space.

    >>> _one_line(" No\\u00ad\\n  bleed.\\x07")
    'No bleed.'
    """
    shown = (c if c.isprintable() or c in JOINERS else " " for c in sentence.translate(INVISIBLE))
    return " ".join("".join(shown).split())


def prompt_of(summarizer: Summarizer) -> Prompt:
    """The prompt of a summariser. Raises UserError where its answers hold no sentences."""
    return _load(summarizer.prompt)


@lru_cache(maxsize=64)
def _load(name: str) -> Prompt:
    prompt = llm_prompt.load(name)
    field = prompt.schema.get("properties", {}).get(FIELD, {})
    strings = field.get("type") == "array" and field.get("items", {}).get("type") == "string"
    if not strings or FIELD not in prompt.schema.get("required", ()):
        raise UserError(f"prompt: {name}: its schema must require {FIELD}, an array of strings")
    return prompt


def shaping(summarizer: Summarizer) -> dict[str, Any]:
    """What of a summariser shapes the sentences, for the fingerprint of a dataset: no address, no
    name of a key, no path, nothing that only changes speed."""
    prompt = prompt_of(summarizer)
    return {
        "variant": summarizer.variant,
        "prompt": prompt.title,
        "prompt_digest": prompt.digest,
        "model": summarizer.model,
        "temperature": summarizer.temperature,
        "max_output_tokens": summarizer.max_output_tokens,
        "max_lost_share": summarizer.max_lost_share,
    }
