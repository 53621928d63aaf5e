"""croissant.json: what a dataset says about itself to machines, and to search engines for datasets.

In: the facts of dataset.json, the commit records, checksums of files beside the shards. Out:
Croissant 1.1 as JSON-LD, the same for the same facts. Its record sets can be loaded with
mlcroissant: `studies` (the Parquet tables) and `members` (the index). Source: Croissant 1.1,
mlcommons/croissant docs/croissant-spec-1.1.md.

The tars are described, but no record set reads them: mlcroissant would unpack every tar into its
cache, under a name that all datasets' 00000.tar share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shards import commit, index, sidecar
from shards.layout import ScanMeta

CROISSANT_FILE = "croissant.json"
NO_DATE = "1970-01-01"
"""A dataset carries no times: zero, as in the headers of its tars."""

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
    "sdVersion": "cr:sdVersion",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification recommends (appendix 1) and mlcroissant expects."""

_MEMBER = {
    "key": "Pseudonym of the study",
    "split": "train, valid or test",
    "patient": "Pseudonym of the patient",
    "shard": "Number of the tar",
    "member": "Name in the tar",
    "offset": "Of the payload from the start of the tar, bytes",
    "length": "Of the payload, bytes",
    "array_offset": "Of the array's data in the (decompressed) payload, bytes",
    "shape": "Of the array: slices, rows, columns; empty for JSON",
    "dtype": "Of the array, as numpy names it; empty for JSON",
    "codec": "json, npy or npy.zst",
    "crc32c": "Of the payload",
}
_KINDS = {pa.types.is_string: "sc:Text", pa.types.is_integer: "sc:Integer"}


@dataclass(frozen=True)
class Beside:
    """A file of the dataset that belongs to no shard."""

    name: str
    num_bytes: int
    sha256: str
    """Hexadecimal."""
    encoding: str
    """Its media type."""


def croissant(
    facts: Mapping[str, Any],
    shards: Mapping[int, commit.ShardStats],
    beside: tuple[Beside, ...],
    *,
    description: str,
    protected: str,
) -> dict[str, Any]:
    """The JSON-LD of a dataset. `beside` names index.parquet first of all."""
    tars = [{"@id": commit.tar_name(n)} for n, stats in sorted(shards.items()) if stats.tar_bytes]
    records = []
    if shards:
        fields = [_field("studies", {"fileSet": {"@id": "tables"}}, f) for f in sidecar.SCHEMA]
        records.append(_record_set("studies", [field for field in fields if field]))
    indexed = {"fileObject": {"@id": index.INDEX_FILE}}
    members = [
        _field("members", indexed, field.with_metadata({"description": _MEMBER[field.name]}))
        for field in index.SCHEMA
    ]
    records.append(
        _record_set("members", [field for field in members if field], key="members/member")
    )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts["name"],
        "description": f"{description} {protected} It carries no times: the date {NO_DATE} means "
        "none.",
        "version": f"{facts['schema_version']}.0.0",
        "sdVersion": f"{facts['schema_version']}.0.0",
        "license": {
            "@type": "sc:CreativeWork",
            "name": "Not stated",
            "description": "The rules for the source apply.",
        },
        "url": "README.md",
        "creator": {"@type": "sc:Organization", "name": "Not stated"},
        "datePublished": NO_DATE,
        "citeAs": f"@misc{{dicom2clip, title={{{facts['name']}}}, note={{dicom2clip dataset, "
        f"fingerprint {facts['fingerprint']}}}}}",
        "keywords": ["medical imaging", "DICOM", *facts["by_modality"]],
        "rai:personalSensitiveInformation": protected,
        "distribution": [
            *(_file(f.name, f.num_bytes, f.sha256, f.encoding) for f in beside),
            *_shard_files(shards),
            *_file_sets(tars, has_tables=bool(shards)),
        ],
        "recordSet": records,
    }


def _shard_files(shards: Mapping[int, commit.ShardStats]) -> list[dict[str, Any]]:
    files = []
    for number, stats in sorted(shards.items()):
        name, size, sha256 = commit.parquet_name(number), stats.parquet_bytes, stats.parquet_sha256
        files.append(_file(name, size, sha256, "application/x-parquet"))
        if stats.tar_bytes:
            name, size, sha256 = commit.tar_name(number), stats.tar_bytes, stats.tar_sha256
            files.append(_file(name, size, sha256, "application/x-tar"))
    return files


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


def _file_sets(tars: list[dict[str, str]], *, has_tables: bool) -> list[dict[str, Any]]:
    sets: list[dict[str, Any]] = []
    if has_tables:
        sets.append(_file_set("tables", "[0-9]*.parquet", "application/x-parquet", "A row a study"))
    if tars:
        arrays = _file_set("arrays", "*.npy", "application/octet-stream", "Scans, (D, H, W)")
        arrays["includes"] = ["*.npy", "*.npy.zst"]
        metadata = _file_set(
            "metadata", "*.json", "application/json", "Scans' facts, sentences, report, labels"
        )
        sets += [{**files, "containedIn": tars} for files in (arrays, metadata)]
    return sets


def _file_set(name: str, includes: str, encoding: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": encoding,
        "includes": includes,
    }


def _record_set(name: str, fields: list[dict[str, Any]], key: str = "") -> dict[str, Any]:
    keyed = {"key": {"@id": key}} if key else {}
    return {"@type": "cr:RecordSet", "@id": name, "name": name, **keyed, "field": fields}


def _field(record_set: str, source: dict[str, Any], column: pa.Field) -> dict[str, Any] | None:
    """A column as a field of Croissant; None for what it has no form for (mappings), and for the
    addresses in a shard's table, which `members` has."""
    if pa.types.is_map(column.type) or (record_set, column.name) == ("studies", "members"):
        return None
    name = f"{record_set}/{column.name}"
    said = {"description": column.metadata[b"description"].decode()}
    extract = {"source": {**source, "extract": {"column": column.name}}}
    kind = column.type
    if not pa.types.is_list(kind):
        return {**_named(name), **said, **_typed(kind), **extract}
    if not pa.types.is_struct(kind.value_type):
        return {**_named(name), **said, **_typed(kind), **extract}
    parts = []
    for path, part in _leaves(kind.value_type):
        taken = {**extract["source"], "transform": {"jsonPath": path}}
        model = ScanMeta.model_fields.get(path)
        about = {"description": model.description} if model and model.description else {}
        parts.append({**_named(f"{name}/{path}"), **about, **_typed(part), "source": taken})
    return {**_named(name), **said, "repeated": True, "subField": parts}


def _named(name: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name.split("/", 1)[1]}


def _typed(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        return {"repeated": True, **_typed(kind.value_type)}
    named = (name for is_kind, name in _KINDS.items() if is_kind(kind))
    return {"dataType": next(named, "sc:Float")}


def _leaves(struct: pa.StructType, path: str = "") -> list[tuple[str, pa.DataType]]:
    """Path and type of all that a struct holds, nested ones too."""
    found: list[tuple[str, pa.DataType]] = []
    for field in struct:
        name = f"{path}{field.name}"
        found += (
            _leaves(field.type, f"{name}.")
            if pa.types.is_struct(field.type)
            else [(name, field.type)]
        )
    return found
