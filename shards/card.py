"""README.md of a dataset: counts, a picture, how to read it, what remains protected data.

In: the facts of dataset.json and the commit records. Out: Markdown, the same for the same facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shards import commit

README_FILE = "README.md"

PROTECTED = (
    "Direct identifiers were removed by an allow-list: arrays, named technical fields and scrubbed "
    "text are all that is here; keys are keyed hashes (HMAC-SHA256), ages over 89 are 90. Scrubbed "
    "text and the faces that head scans can show remain protected data: keep, share and delete "
    "this folder under the rules for the source."
)


def readme(
    facts: Mapping[str, Any], shards: Mapping[int, commit.ShardStats], picture: str = ""
) -> str:
    """The dataset's README.md; `picture` is the file with its picture, if it has one."""
    shape = (
        f"uint8 {tuple(facts['shape'])}" if facts["shape"] else "uint8 (D, H, W), of several sizes"
    )
    shown = [f"![The first scans of some studies]({picture})", ""] if picture else []
    lines = [
        f"# {facts['name']}",
        "",
        summary(facts),
        "",
        f"**Protected data.** {PROTECTED}",
        "",
        *shown,
        "## Counts",
        "| what | how many |",
        "|---|---|",
        f"| studies | {facts['num_studies']} |",
        f"| scans | {facts['num_scans']} |",
        f"| patients | {facts['num_patients']} |",
        f"| shards | {facts['num_shards']} |",
        f"| bytes | {facts['bytes']} |",
        *(f"| split {name} | {count} |" for name, count in facts["by_split"].items()),
        *(f"| modality {name} | {count} |" for name, count in facts["by_modality"].items()),
        *(f"| rejected, {name} | {count} |" for name, count in facts["by_reason"].items()),
        "",
        "## Reading",
        f"A sample is a study: `KEY.json`, then `KEY.s00.npy`, `KEY.s01.npy`, ... ({shape}), or",
        "`.npy.zst`. Plain webdataset:",
        "```python",
        "import io, json, numpy, webdataset, zstandard",
        f'for sample in webdataset.WebDataset("{urls(shards)}", shardshuffle=False):',
        '    study, files = json.loads(sample["json"]), [n for n in sample if ".npy" in n]',
        '    raw = [zstandard.decompress(sample[n]) if n[-1] == "t" else sample[n] for n in files]',
        "    scans = [numpy.load(io.BytesIO(array)) for array in raw]  # of study['scans']",
        "```",
        "A shard mixes all splits: filter by `study['split']`. `study.schema.json` says what every",
        "field of `KEY.json` means. `NNNNN.parquet` has a row a study, the rejected ones too, with",
        "what one would filter by; `index.parquet` has a row a member: where its bytes lie, and",
        "their CRC-32C. `croissant.json` names the files with their SHA-256.",
        "`dicom2clip shards ls`, `info`, `show`, `find` and `preview` look inside, `verify` proves",
        "the bytes.",
        "",
        "Every scan's `affine` maps the index (d, h, w) of a voxel's centre to millimetres in LPS",
        "(x to the patient's left, y to the back, z to the head).",
        "",
        "## How it was made",
        f"Settings' fingerprint `{facts['fingerprint']}`;",
        f"keys' fingerprint `{facts['key_fingerprint'] or 'none'}`.",
        *(f"- {name} {version}" for name, version in sorted(facts["provenance"].items())),
        "",
    ]
    return "\n".join(lines)


def urls(shards: Mapping[int, commit.ShardStats]) -> str:
    """The tars in webdataset's notation: {00000..00003}.tar, joined by :: where numbers are left
    out because no study of a shard succeeded."""
    return "::".join(
        commit.tar_name(first) if first == last else f"{{{first:05d}..{last:05d}}}.tar"
        for first, last in _runs(n for n, stats in sorted(shards.items()) if stats.tar_bytes)
    )


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of every run of numbers with as many digits."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1 and len(f"{number:05d}") == len(f"{runs[-1][0]:05d}"):
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def summary(facts: Mapping[str, Any]) -> str:
    """What it is, in a sentence."""
    counted = [
        f"{facts['num_studies']} studies of {facts['num_patients']} patients",
        f"{facts['num_scans']} scans",
    ]
    return f"Imaging studies with the sentences of their reports: {', '.join(counted)}."
