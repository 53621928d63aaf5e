"""How many false sentences the check catches, how many honest ones it loses, and how fast it is.

In: the paraphrases of tests/ingest and, where there, the folder of real reports. Out: a table in
Markdown: honest paraphrases lost, and corruptions caught by kind, apart for the reports that rules
were fitted on, for those held out and for each later batch; milliseconds of CPU for a report of 600
words and 15 sentences.

    python bench/faithful.py --real ../shared
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(REPOSITORY), str(REPOSITORY / "tests" / "ingest")]

import corruptions  # noqa: E402
import faithfulness  # noqa: E402

from ingest.faithful import check  # noqa: E402

WORDS = 600
SENTENCES = 15


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", type=Path, help="folder with reports/real_reports.jsonl")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    real = faithfulness.real_texts(options.real) if options.real else {}
    found = list(faithfulness.cases(real))
    names = dict.fromkeys(["fitted on", "held out", *(c.share for c in found)])
    sets = {name: [c for c in found if c.share == name] for name in names}
    print("| | " + " | ".join(sets) + " |\n|---|" + "---|" * len(sets))
    print(row("reports", [str(len(cases)) for cases in sets.values()]))
    print(row("paraphrases lost", [share(faithfulness.lost(cases)) for cases in sets.values()]))
    totals = {name: faithfulness.Count() for name in sets}
    cells: dict[tuple[str, str], dict[str, faithfulness.Count]] = {}
    for name, cases in sets.items():
        for seed in range(options.seeds):
            counts = faithfulness.caught(cases, seed)
            for key, count in counts.items():
                cell = cells.setdefault(key, {n: faithfulness.Count() for n in sets})[name]
                cell.dropped, cell.of = cell.dropped + count.dropped, cell.of + count.of
            asked = faithfulness.asked_for(counts)
            totals[name].dropped += asked.dropped
            totals[name].of += asked.of
    print(row("corruptions caught, all asked for", [share(totals[n]) for n in sets]))
    for source, kind in sorted(cells):
        more = "" if kind in corruptions.ASKED_FOR else " (not in the total)"
        values = [share(cells[source, kind][n]) for n in sets]
        print(row(f"{source}: {kind}{more}", values))
    print(f"\n{milliseconds(found):.1f} ms of CPU for {WORDS} words and {SENTENCES} sentences")


def row(name: str, values: list[str]) -> str:
    return f"| {name} | " + " | ".join(values) + " |"


def share(count: faithfulness.Count) -> str:
    return f"{100 * count.share:.1f} % of {count.of}"


def milliseconds(found: list[faithfulness.Case]) -> float:
    """The least of twenty, of invented reports put together to the length of a long one."""
    text, sentences = "", []
    for case in found:
        if len(text.split()) < WORDS:
            text += case.text + "\n"
            sentences += case.paraphrases
    text = " ".join(text.split(" ")[:WORDS])
    times = []
    for _ in range(20):
        start = time.process_time()
        check(sentences[:SENTENCES], text)
        times.append(time.process_time() - start)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
