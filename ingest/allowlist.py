"""Header facts and settings -> what of them may be in a dataset.

In: an image's header facts, the settings of an ingestion, the names of a labels table. Out: numbers
in range, words of an enumeration, names of a form; what does not fit is left out, not masked. The
limits themselves are in `shards.allowed`, which the writer holds everything against once more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from shards import allowed
from study.records import Instance, Scan

OPEN_SELECTORS = frozenset({"modalities", "body_parts"})
"""Parts of `ingest.select` whose values are DICOM's words, where they are on the list."""


def acquisition_facts(image: Instance) -> dict[str, str | float | int]:
    """Technical facts of an image that are on the allow-list and look as they should."""
    facts: dict[str, str | float | int] = {}
    for name, rule in allowed.ACQUISITION.items():
        value = getattr(image, name, None)
        if isinstance(rule, allowed.Range) and value is not None and rule.fits(float(value)):
            facts[name] = significant(float(value))
    facts["manufacturer"] = _manufacturer(image.manufacturer)
    words = {
        "convolution_kernel": image.convolution_kernel.split("\\")[0],
        "body_part": image.body_part.upper(),
    }
    facts |= {name: word for name, word in words.items() if allowed.ACQUISITION[name].fits(word)}
    return facts


def significant(value: float) -> float:
    """A header's number with so few digits that it can carry no identifier.

    >>> significant(3.00000001), significant(98765.4321)
    (3.0, 98765.0)
    """
    return float(f"{value:.{allowed.SIGNIFICANT_DIGITS}g}")


def _manufacturer(text: str) -> str:
    """The maker by its first name, else OTHER: model and site names ride in this element."""
    upper = text.upper()
    found = (m for m in allowed.MANUFACTURERS if re.search(rf"\b{m}\b", upper))
    return next(found, "OTHER")


GEOMETRY = ("spacing_mm", "affine", "source_shape", "source_spacing_mm", "source_affine")


def out_of_range(scan: Scan) -> str:
    """Names of a scan's geometry that could not stand in a dataset: a position in thousands of
    metres is none. Empty: all is well."""
    facts = {name: getattr(scan, name) for name in GEOMETRY}
    return ", ".join(sorted({path.strip("[]") for path in allowed.misfits(facts, allowed.SCAN)}))


def is_label_name(name: str) -> bool:
    """Whether a column of the user's table may give its name to a label."""
    return allowed.LABEL.fits(name)


def public_settings(settings: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """Settings as `dataset.json` may hold them: the words of selectors become keyed hashes, which
    still tell whether they changed, and against which nobody can try values."""
    return {name: _public(value, key, (name,)) for name, value in settings.items()}


def _public(value: Any, key: bytes, path: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {name: _public(item, key, (*path, name)) for name, item in value.items()}
    selects = "select" in path
    if isinstance(value, list | tuple):
        return [_public(item, key, path) for item in value]
    if isinstance(value, str) and value and (selects or not allowed.SETTING.fits(value)):
        words = {*allowed.MODALITY.words, *allowed.BODY_PARTS}
        if not (path[-1] in OPEN_SELECTORS and value.upper() in words):
            return keyed(value, key)
    return value


def keyed(value: str, key: bytes) -> str:
    """Keyed hash of a setting."""
    return f"keyed:{hmac.new(key, f'setting:{value}'.encode(), hashlib.sha256).hexdigest()[:32]}"
