"""What a dataset says about itself to strangers: README.md for people, croissant.json for machines.

In: the facts of dataset.json and the commit records. Out: two texts, the same for the same facts.
Source: Croissant 1.1, mlcommons/croissant docs/croissant-spec-1.1.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shards import commit

CROISSANT_FILE = "croissant.json"
README_FILE = "README.md"

PROTECTED = (
    "Direct identifiers were removed by an allow-list: arrays, named technical fields and scrubbed "
    "text are all that is here; keys are keyed hashes (HMAC-SHA256), ages over 89 are 90. Scrubbed "
    "text and the faces that head scans can show remain protected data: keep, share and delete "
    "this folder under the rules for the source."
)

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification prescribes (appendix 1)."""

_STUDY_FIELDS = {
    "key": ("sc:Text", "Pseudonym of the study"),
    "patient": ("sc:Text", "Pseudonym of the patient; splits are by patient"),
    "split": ("sc:Text", "train, valid or test"),
    "status": ("sc:Text", "used or rejected"),
    "reason": ("sc:Text", "Reason code of a rejection"),
    "num_scans": ("sc:Integer", "Arrays of the study"),
    "age_years": ("sc:Integer", "90 stands for 90 and over"),
    "sex": ("sc:Text", "F, M, O or empty"),
}
_INDEX_FIELDS = {
    "key": ("sc:Text", "Pseudonym of the study"),
    "split": ("sc:Text", "train, valid or test"),
    "shard": ("sc:Integer", "Number of the tar"),
    "member": ("sc:Text", "Name in the tar"),
    "offset": ("sc:Integer", "Of the payload from the start of the tar, bytes"),
    "length": ("sc:Integer", "Of the payload, bytes"),
    "crc32c": ("sc:Integer", "Of the payload"),
}


def croissant(facts: Mapping[str, Any], shards: Mapping[int, commit.ShardStats]) -> dict[str, Any]:
    """Croissant 1.1 JSON-LD: the files with their hashes, and the record sets of studies and
    members."""
    distribution: list[dict[str, Any]] = []
    for number, stats in sorted(shards.items()):
        table = commit.parquet_name(number)
        distribution.append(
            _file(table, stats.parquet_bytes, stats.parquet_sha256, "application/x-parquet")
        )
        if stats.tar_bytes:
            tar = commit.tar_name(number)
            distribution.append(_file(tar, stats.tar_bytes, stats.tar_sha256, "application/x-tar"))
    tars = [{"@id": commit.tar_name(n)} for n, s in sorted(shards.items()) if s.tar_bytes]
    tables = [{"@id": commit.parquet_name(n)} for n in sorted(shards)]
    if tars:
        distribution += [
            _file_set(
                "arrays",
                tars,
                ["*.npy", "*.npy.zst"],
                "application/octet-stream",
                "Scans, (D, H, W) uint8",
            ),
            _file_set(
                "metadata",
                tars,
                ["*.json"],
                "application/json",
                "Scans' facts, sentences, report, labels",
            ),
        ]
    distribution.append(
        _file_set("study-tables", tables, ["*.parquet"], "application/x-parquet", "A row a study")
    )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts["name"],
        "description": f"{_summary(facts)} {PROTECTED}",
        "version": f"{facts['schema_version']}.0.0",
        "license": "unknown",
        "rai:personalSensitiveInformation": PROTECTED,
        "distribution": distribution,
        "recordSet": [_record_set("studies", "study-tables", _STUDY_FIELDS)],
    }


def readme(facts: Mapping[str, Any]) -> str:
    """The dataset's README.md."""
    shape = (
        f"uint8 {tuple(facts['shape'])}" if facts["shape"] else "uint8 (D, H, W), of several sizes"
    )
    lines = [
        f"# {facts['name']}",
        "",
        _summary(facts),
        "",
        f"**Protected data.** {PROTECTED}",
        "",
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
        f"A sample is a study: `KEY.json`, then `KEY.s00.npy`, `KEY.s01.npy`, ... ({shape}).",
        "Plain webdataset:",
        "```python",
        "import io, numpy, webdataset, zstandard",
        "def arrays(name, data):",
        '    if name.endswith(".npy.zst"): data = zstandard.decompress(data)',
        '    if ".npy" in name: return numpy.load(io.BytesIO(data))',
        'shard = webdataset.WebDataset("00000.tar", shardshuffle=False)',
        'for sample in shard.decode(arrays): print(sample["__key__"], sample.keys())',
        "```",
        "A shard mixes all splits: filter by `split` of the JSON, or use `shards.reader.Dataset`,",
        "which reads single scans by `index.parquet`. `NNNNN.parquet` has a row a study, also for",
        "the rejected ones; `NNNNN_stats.json` has checksums. `dicom2clip shards ls`, `show` and",
        "`preview` look inside.",
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


def _summary(facts: Mapping[str, Any]) -> str:
    counted = [
        f"{facts['num_studies']} studies of {facts['num_patients']} patients",
        f"{facts['num_scans']} scans",
    ]
    return f"Imaging studies with the sentences of their reports: {', '.join(counted)}."


def _file(name: str, size: int, sha256: str, encoding: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": encoding,
        "sha256": sha256,
    }


def _file_set(
    name: str, parents: list[dict[str, str]], includes: list[str], encoding: str, description: str
) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "containedIn": parents,
        "encodingFormat": encoding,
        "includes": includes,
    }


def _record_set(name: str, source: str, fields: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/key"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": description,
                "dataType": kind,
                "source": {"fileSet": {"@id": source}, "extract": {"column": column}},
            }
            for column, (kind, description) in fields.items()
        ],
    }
