"""A published table for machines: Croissant 1.0 metadata with its responsible-AI terms, as JSON-LD.

Written by hand, for JSON-LD is JSON: nothing has to be installed to publish. The vocabulary is that
of https://docs.mlcommons.org/croissant/docs/croissant-spec.html; `mlcroissant validate` accepts it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nas_skeleton.published import files
from nas_skeleton.published.datasheet import (
    RECORDS,
    USES,
    WARNINGS,
    maintenance,
    source_of,
    title_of,
)
from nas_skeleton.published.files import Manifest
from nas_skeleton.published.publisher import Publisher

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
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
_FORMATS = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".parquet": "application/x-parquet",
    ".toml": "application/toml",
}
_NO_LICENCE = "NOASSERTION"  # what SPDX writes where nobody said one
_CSV_TYPES = {  # of columns that are no numbers with a point
    **dict.fromkeys(("arch_str", "split", "id", "class"), "sc:Text"),
    **dict.fromkeys(
        ("arch_index", "seeds", "copied", "diverged", "params", "macs", "position", "label"),
        "sc:Integer",
    ),
}


def version_of(manifest: Manifest) -> str:
    """Schema and content of a table as a semantic version, the content as build metadata."""
    return f"{manifest.schema}.0.0+{manifest.content}"


def write_croissant(folder: Path, manifest: Manifest, publisher: Publisher) -> None:
    """Write the metadata; the files it describes must be there."""
    text = json.dumps(_metadata(folder, manifest, publisher), indent=1, ensure_ascii=False)
    (folder / files.CROISSANT).write_text(f"{text}\n", encoding="utf-8")


def _metadata(folder: Path, manifest: Manifest, publisher: Publisher) -> dict[str, Any]:
    source = source_of(manifest)
    author = publisher.author or "not stated"
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": manifest.name,
        "description": title_of(manifest),
        "version": version_of(manifest),
        "datePublished": manifest.trained_until[:10],
        "license": publisher.licence or _NO_LICENCE,
        "creator": {"@type": "sc:Organization", "name": author, **_reached_at(publisher.contact)},
        "url": "./",
        "citeAs": f"Author: {author}. Table {manifest.name!r}, content {manifest.content}, "
        f"published with nas_skeleton {manifest.published_with}. The clips: "
        f"{source.citation or manifest.dataset}",
        "isLiveDataset": False,
        "rai:dataCollection": "Networks were trained by nas_skeleton; nothing was collected from "
        "people. Labels and ids of clips are those of the data set.",
        "rai:dataUseCases": USES,
        "rai:dataLimitations": WARNINGS,
        "rai:personalSensitiveInformation": "None: no skeletons are in it, only ids and labels of "
        "clips and the classes that networks predict for them.",
        "rai:dataReleaseMaintenancePlan": " ".join(maintenance(manifest, publisher)),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{file.bytes} B",
                "encodingFormat": _FORMATS[Path(name).suffix],
                "sha256": file.sha256,
            }
            for name, file in manifest.files.items()
        ],
        "recordSet": [
            _record_set(folder / name, *described) for name, described in RECORDS.items()
        ],
    }


def _reached_at(contact: str) -> dict[str, str]:
    if not contact:
        return {}
    return {"url" if "://" in contact else "email": contact}


def _record_set(path: Path, name: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "dataType": kind.removesuffix("[]"),
                **({"repeated": True} if kind.endswith("[]") else {}),
                "source": {"fileObject": {"@id": path.name}, "extract": {"column": column}},
            }
            for column, kind in _columns(path).items()
        ],
    }


def _columns(path: Path) -> dict[str, str]:
    """Column -> type, with [] behind it for lists."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8") as file:
            names = file.readline().strip().split(",")
        return {name: _CSV_TYPES.get(name, "sc:Float") for name in names}
    return {field.name: _kind(field.type) for field in pq.read_schema(path)}


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        return f"{_kind(kind.value_type)}[]"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
