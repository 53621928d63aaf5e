"""Reports -> labels by language models, each label a question of a set, by majority.

In: report texts, a `Labeler` of the settings, the folder of the models' answers. Out: `Labels` of
each: what is said of every label of the set, and who voted how. The idea: one request asks a model
all questions of a set, and the schema leaves it no other answers; several models disagree where one
is wrong. A model that failed has no vote, a tie is `uncertain`. A model's no about a report without
findings (technique alone) is not believed: such a report is missing, never normal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ingest import llm_prompt, offline
from ingest.label_set import Answer, LabelSet, find_label_set
from ingest.llm_cache import Cache, Failure, key_of
from ingest.llm_prompt import Prompt, Question
from ingest.planted import without_instructions
from study.errors import UserError
from study.llm_sections import Labeler, Llm

PROMPTS = Path(__file__).with_name("label_prompts")
QUESTIONS, ANSWERS = "{questions}", "{answers}"
"""In the system text of a prompt: where the questions of the set and the words for answers go."""
NOT_MENTIONED = "not mentioned"
"""What a model says for `Answer.ABSENT`."""
MEANING = {
    Answer.YES: "it is there, surely or likely",
    Answer.NO: "it is denied, or the report says that all is normal where it would be",
    Answer.UNCERTAIN: "the report leaves it open: possible, cannot be excluded, or a question",
    Answer.ABSENT: "the report says nothing of it",
}
NO_IF_SILENT = "it is denied, or the report says nothing of it"
"""Of `no` in sets of which what is not mentioned is no."""


@dataclass(frozen=True)
class Labels:
    """What the models said of a report."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    """Of every label by majority. Empty: the report is missing, or every model failed."""
    votes: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict)
    """Label -> model -> its answer."""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """Models that have no answer, and why."""
    flagged: bool = False
    """The report speaks to a machine (`ingest.planted`): someone should look."""


def labels_of(text: str, labeler: Labeler, cache: Cache) -> Labels | None:
    """What the models answered about a report; None: one of them was not asked yet. Same text, same
    cache, same labels."""
    label_set = find_label_set(labeler.label_set)
    question = Question(prompt_of(labeler), text)
    if question.is_empty:
        return Labels()
    by_model: dict[str, dict[str, Answer]] = {}
    failures: dict[str, Failure] = {}
    for model in labeler.models:
        settled = cache.get(key_of(question, model))
        if settled is None:
            return None
        if settled.answer is None:
            assert settled.failure is not None
            failures[model.model] = settled.failure
        else:
            by_model[model.model] = _answers(settled.answer)
    flagged = without_instructions(text) != text
    if not by_model:
        return Labels(failures=failures, flagged=flagged)
    votes = {
        name: {model: said[name] for model, said in by_model.items()} for name in label_set.names
    }
    answers = label_set.with_included({name: majority(v.values()) for name, v in votes.items()})
    if not offline.summarize(text):
        answers = {n: a for n, a in answers.items() if a in (Answer.YES, Answer.UNCERTAIN)}
    return Labels(answers, votes, failures, flagged)


def majority(votes: Iterable[Answer]) -> Answer:
    """The answer that most models give; uncertain where two are given equally often.

    >>> str(majority([Answer.YES, Answer.NO, Answer.YES])), str(majority([Answer.YES, Answer.NO]))
    ('yes', 'uncertain')
    """
    counted = Counter(votes).most_common(2)
    if len(counted) == 2 and counted[0][1] == counted[1][1]:
        return Answer.UNCERTAIN
    return counted[0][0]


def _answers(said: Mapping[str, str]) -> dict[str, Answer]:
    return {n: Answer.ABSENT if a == NOT_MENTIONED else Answer(a) for n, a in said.items()}


# ---------------------------------------------------------------------------------------- prompt


def prompt_of(labeler: Labeler) -> Prompt:
    """The prompt of a labeler with the questions of its set. Raises UserError where either is no
    such file."""
    return _prompt(labeler.prompt, find_label_set(labeler.label_set))


@lru_cache(maxsize=64)
def _prompt(name: str, label_set: LabelSet) -> Prompt:
    bundled = {file.stem: file for file in PROMPTS.glob("*.yaml")}
    if name not in bundled and not Path(name).is_file():
        known = ", ".join(sorted(bundled))
        raise UserError(f"labelers: prompt: {name!r} is neither a file nor one of {known}")
    prompt = llm_prompt.load(str(bundled.get(name, name)))
    for place in (QUESTIONS, ANSWERS):
        if place not in prompt.system:
            raise UserError(f"labelers: prompt: {name}: its system text must have {place}")
    words = _words(label_set)
    questions = "\n".join(f"{label.name}: {label.question}" for label in label_set.labels)
    answers = "\n".join(f"{word}: {meaning}." for word, meaning in words.items())
    system = prompt.system.replace(ANSWERS, _indented(answers)).replace(QUESTIONS, questions)
    return replace(
        prompt,
        name=f"{prompt.name}-{label_set.name}",
        system=system,
        schema=_schema(label_set.names, tuple(words)),
    )


def _words(label_set: LabelSet) -> dict[str, str]:
    """The answers that a model may give, and what each one means."""
    if label_set.absent == "no":
        return {
            "yes": MEANING[Answer.YES],
            "no": NO_IF_SILENT,
            "uncertain": MEANING[Answer.UNCERTAIN],
        }
    return {(NOT_MENTIONED if a is Answer.ABSENT else str(a)): MEANING[a] for a in Answer}


def _indented(text: str) -> str:
    return "\n".join(f"- {line}" for line in text.splitlines())


def _schema(names: tuple[str, ...], words: tuple[str, ...]) -> dict[str, Any]:
    one = {"type": "string", "enum": list(words)}
    return {
        "type": "object",
        "properties": dict.fromkeys(names, one),
        "required": list(names),
        "additionalProperties": False,
    }


# ------------------------------------------------------------------------------------- provenance


def provenance(labeler: Labeler) -> dict[str, Any]:
    """What of a labeler shapes the labels, for the settings of a dataset: no address, no name of a
    key, no path, nothing that only changes speed. Without models the route is that by words."""
    label_set = find_label_set(labeler.label_set)
    facts: dict[str, Any] = {
        "set": label_set.title,
        "set_digest": label_set.digest,
        "route": "models" if labeler.models else offline.VARIANT,
    }
    if labeler.models:
        prompt = prompt_of(labeler)
        facts |= {
            "prompt": prompt.title,
            "prompt_digest": prompt.digest,
            "models": [_shaping(model) for model in labeler.models],
        }
    return facts


def _shaping(model: Llm) -> dict[str, Any]:
    return {
        "model": model.model,
        "temperature": model.temperature,
        "max_output_tokens": model.max_output_tokens,
    }
