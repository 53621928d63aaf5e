"""Golden files of the rule-based sentences: how they are read, and written anew.

`python tests/ingest/offline_golden.py` rewrites both from what the summariser says now. Then read
the difference, sentence by sentence, as a radiologist would: a finding or an impression, complete,
once, nothing of technique, history or signature, and none missing.

offline_invented.txt: reports in the styles of several countries and systems, invented for tests.
offline_real.json: sentences of the real reports that may be passed on (CC0, MIT), by report; the
reports themselves are in the real data. Of those that may not, only counts and a digest are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.offline import summarize

FOLDER = Path(__file__).parent / "golden"
INVENTED = FOLDER / "offline_invented.txt"
REAL = FOLDER / "offline_real.json"
FREE, BOUND = "real_reports.jsonl", "real_reports_by_nc_sa.jsonl"
REPORT, SENTENCES = "======== ", "-------- sentences"


def invented() -> dict[str, tuple[str, list[str]]]:
    """Name -> (report, its sentences)."""
    found = {}
    for part in INVENTED.read_text().removesuffix("\n").split(f"\n{REPORT}")[1:]:
        name, rest = part.split("\n", 1)
        text, sentences = rest.split(SENTENCES)
        found[name] = text, sentences.split("\n")[1:]
    return found


def real_rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    with (folder / "reports" / name).open() as lines:
        yield from map(json.loads, lines)


def fact(sentences: list[str]) -> dict[str, Any]:
    """What is kept of sentences that may not be passed on."""
    digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
    return {"sentences": len(sentences), "sha256": digest}


def golden_real() -> dict[str, Any]:
    return dict(json.loads(REAL.read_text()))


def _write(folder: Path) -> None:
    cases = invented()
    parts = [INVENTED.read_text().split(f"\n{REPORT}")[0]]
    for name, (text, _) in cases.items():
        parts.append("\n".join([f"{REPORT}{name}\n{text}{SENTENCES}", *summarize(text)]))
    INVENTED.write_text("\n".join(parts) + "\n")
    golden = {
        FREE: {row["id"]: summarize(row["text"]) for row in real_rows(folder, FREE)},
        BOUND: {row["id"]: fact(summarize(row["text"])) for row in real_rows(folder, BOUND)},
    }
    REAL.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    _write(Path(os.environ.get("DICOM2CLIP_REAL_DATA", "../shared")))
