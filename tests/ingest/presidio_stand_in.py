"""A small package with presidio's interface, as far as it is used, for tests where it is not there.

It takes for people all capitalised words after "by", and for telephone numbers digits in brackets.
"""

from __future__ import annotations

import json
from pathlib import Path

VERSION = "0.0.1"
ANALYZER = """
import re
from collections import namedtuple

Found = namedtuple("Found", "start end entity_type")

class RecognizerRegistry:
    def __init__(self, recognizers, supported_languages):
        self.wanted = [r.wanted for r in recognizers]
        assert supported_languages == ["en"]

class AnalyzerEngine:
    def __init__(self, registry, nlp_engine, supported_languages):
        assert nlp_engine.nlp["en"].inside is False
        self.wanted, self.nlp = registry.wanted, nlp_engine.nlp["en"]

    def analyze(self, text, language):
        assert language == "en" and self.nlp.inside
        patterns = {"PERSON": r"(?<=by )[A-Z]\\w+(?: [A-Z]\\w+)*", "PHONE_NUMBER": r"\\([\\d ]+\\)"}
        return [Found(*m.span(), e) for e in self.wanted for m in re.finditer(patterns[e], text)]
"""
RECOGNIZERS = """
class SpacyRecognizer:
    def __init__(self, supported_entities):
        (self.wanted,) = supported_entities

class PhoneRecognizer:
    wanted = "PHONE_NUMBER"
"""
ENGINE = """
class SpacyNlpEngine:
    def __init__(self, models):
        (self.model,) = models
"""
SPACY = """
from contextlib import contextmanager
from pathlib import Path

class Language:
    inside = False

    @contextmanager
    def memory_zone(self):
        self.inside = True
        yield
        self.inside = False

def load(name, exclude):
    assert (Path(name) / "meta.json").exists() and "ner" not in exclude
    return Language()
"""


def write_package(folder: Path) -> None:
    """Write the modules, and what says their versions, into a folder of the import path."""
    modules = {
        "presidio_analyzer/__init__.py": ANALYZER,
        "presidio_analyzer/nlp_engine.py": ENGINE,
        "presidio_analyzer/predefined_recognizers.py": RECOGNIZERS,
        "spacy/__init__.py": SPACY,
    }
    for name in ("presidio_analyzer", "spacy"):
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n"
        modules[f"{name}-{VERSION}.dist-info/METADATA"] = about
    for name, text in modules.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def write_model(folder: Path, lang: str = "en", pipeline: tuple[str, ...] = ("ner",)) -> Path:
    """Write what a spaCy pipeline says of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"lang": lang, "name": "made_up", "version": VERSION, "pipeline": pipeline}
    (folder / "meta.json").write_text(json.dumps(about))
    return folder
