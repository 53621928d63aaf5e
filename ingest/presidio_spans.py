"""Names in prose and telephone numbers that presidio finds, besides those of our own patterns.

In: folded text (see `folded`), the name of a spaCy pipeline. Out: spans of kinds NAME and PHONE.
presidio (an extra of the package) is asked for people and telephone numbers alone: on real CT and
MR reports what it took for places and organisations identified nobody ("CT", "Level IV").
People are taken where `person_names` says that they can be some. Only English text is looked at.
Loaded once a process, never from the network: presidio itself would fetch a pipeline that it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ingest.english import is_english
from ingest.person_names import names_in
from ingest.spans import Find, Span, nothing
from study.errors import UserError
from study.ingest_sections import Ingest

PACKAGE = "presidio-analyzer"
PEOPLE, PHONES = "PERSON", "PHONE_NUMBER"
"""Entities of presidio."""
FEWEST_DIGITS = 9
"""Of a telephone number: shorter ones are values in a row."""
PIECE = 50_000
"""Characters analysed at a time: memory grows with the text, and spaCy refuses a million."""
CUTS = ("\n", " ")
"""Where a long text is cut, the best first."""


def in_use(settings: Ingest) -> str:
    """What finds spans besides our own patterns; empty: nothing does. UserError as `versions`."""
    return versions(settings.presidio_model) if settings.presidio else ""


def versions(model: str) -> str:
    """What finds the spans, in words, without loading it. Raises UserError where presidio or the
    pipeline is not installed, or the pipeline is for something else."""
    try:
        package = f"{PACKAGE} {metadata.version(PACKAGE)}, spaCy {metadata.version('spacy')}"
    except metadata.PackageNotFoundError:
        raise UserError(
            f"ingest.presidio: the package {PACKAGE} is not installed; "
            'pip install "dicom2clip[presidio]", or set ingest.presidio to false'
        ) from None
    folder = _folder(model)
    if folder is None:
        raise UserError(
            f"ingest.presidio_model: {model!r} is neither an installed spaCy pipeline nor the "
            "folder of one; python -m spacy download en_core_web_md, or give a folder"
        )
    about = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if about["lang"] != "en" or "ner" not in about["pipeline"]:
        raise UserError(
            f"ingest.presidio_model: {model!r} is a pipeline for {about['lang']!r} with "
            f"{', '.join(about['pipeline'])}; one for 'en' with ner is needed"
        )
    return f"{package}, {about['lang']}_{about['name']} {about['version']}"


def _folder(model: str) -> Path | None:
    """Where a pipeline says what it is."""
    found = [Path(model)] if model else []
    spec = find_spec(model) if model.isidentifier() else None
    if spec and spec.origin:
        found.append(Path(spec.origin).parent)
    return next((folder for folder in found if (folder / "meta.json").is_file()), None)


def finder(settings: Ingest) -> Find:
    """Finds spans in the folded text of a report, where the settings ask for it."""
    model = settings.presidio_model
    if not settings.presidio:
        return nothing

    def find(text: str) -> Iterator[Span]:
        if is_english(text):
            for start, piece in pieces(text):
                for span in _analyzer(model)(piece):
                    yield Span(start + span.start, start + span.end, span.kind)

    return find


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """A long text in pieces, each with its place, cut between lines or words where possible.

    >>> [place for place, _ in pieces("one two " * 10_000)]
    [0, 50000]
    """
    start = 0
    while start < len(text):
        end = min(start + PIECE, len(text))
        if end < len(text):
            cuts = (text.rfind(mark, start + PIECE // 2, end) + 1 for mark in CUTS)
            end = next((cut for cut in cuts if cut), end)
        yield start, text[start:end]
        start = end


@cache
def _analyzer(model: str) -> Find:
    """Loaded when the first text asks for it: it takes seconds, and some hundred megabytes."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer, SpacyRecognizer

    # the parts that only a parse needs cost half the time, and change no name
    nlp = spacy.load(
        _folder(model) or model, exclude=["parser", "tagger", "attribute_ruler", "lemmatizer"]
    )
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
    engine.nlp = {"en": nlp}  # else it would take a GPU, and fetch what it does not find
    recognizers = [SpacyRecognizer(supported_entities=[PEOPLE]), PhoneRecognizer()]
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
    analyzer: Any = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])

    def analyze(text: str) -> Iterator[Span]:
        with nlp.memory_zone():  # words of one text are not kept for the next
            found = [(f.entity_type, f.start, f.end) for f in analyzer.analyze(text, "en")]
        for entity, start, end in found:
            if entity == PHONES and sum(map(str.isdigit, text[start:end])) >= FEWEST_DIGITS:
                yield Span(start, end, "PHONE")
        yield from names_in(text, [(start, end) for e, start, end in found if e == PEOPLE])

    return analyze
