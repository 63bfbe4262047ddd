"""The ancestry of one model as bills of materials: CycloneDX 1.6 (`pedigree.ancestors`) and SPDX 3.0.1 (`descendantOf`).

Formats: https://cyclonedx.org/docs/1.6/json/ and https://spdx.github.io/spdx-spec/v3.0.1/. Written as plain JSON: the libraries for
them are larger than what is needed of them.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lineage.graphdb.schema import LOCAL, Model, Relation, chance
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.licences import licence_names
from lineage.queries.walk import BATCH, ancestors

NAMESPACE = uuid.UUID("6f1d0a43-94a0-4b53-9b2c-5a0b9d6a7c11")  # of the serial numbers made here
SPDX_CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
SPDX_IDS = {  # licence names of the Hub whose SPDX name differs in more than what `upper` does
    "afl-3.0": "AFL-3.0",
    "agpl-3.0": "AGPL-3.0-only",
    "apache-2.0": "Apache-2.0",
    "artistic-2.0": "Artistic-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-3-clause-clear": "BSD-3-Clause-Clear",
    "bsl-1.0": "BSL-1.0",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "isc": "ISC",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
    **{f"cc-{kind}-{n}": f"CC-{kind.upper()}-{n}" for n in ("2.0", "3.0", "4.0") for kind in
       ("by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd")},
    "cc0-1.0": "CC0-1.0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pedigree:
    """A model with all that it comes from.

    Attributes:
        model: hub_id of the model asked about.
        about: hub_id -> row of about.cypher, the model's and its ancestors'.
        edges: hub_id of a child -> its rows of accepted_edges.cypher, the most probable first.
        written_at: moment of writing.
    """

    model: str
    about: Mapping[str, Mapping[str, Any]]
    edges: Mapping[str, list[Mapping[str, Any]]]
    written_at: datetime


def pedigree(store: GraphReader, model: Model) -> Pedigree:
    """Reads it."""
    ids = [model.hub_id, *(relative.hub_id for relative in ancestors(store, model.hub_id))]
    about: dict[str, Mapping[str, Any]] = {}
    edges: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for start in range(0, len(ids), BATCH):
        some = {"models": ids[start : start + BATCH]}
        about |= {row["hub_id"]: row for row in store.read(load("about").text, some)}
        for row in store.read(load("accepted_edges").text, some):
            edges[row["child"]].append(row)
    return Pedigree(model.hub_id, about, edges, store.clock().astimezone(UTC))


def cyclonedx(found: Pedigree) -> dict[str, Any]:
    """A CycloneDX 1.6 document: the model as its subject, ancestors nested in ancestors. A model that is reached twice, over
    a merge or a cycle, has its own ancestors where it comes first."""
    opened: set[str] = set()

    def component(hub_id: str, edge: Mapping[str, Any] | None) -> dict[str, Any]:
        row = found.about[hub_id]
        made: dict[str, Any] = {"type": "machine-learning-model", "name": row["repo_id"]}
        if hub_id not in opened:
            made["bom-ref"] = hub_id
        if row["revision"]:
            made["version"] = row["revision"]
        if names := licence_names(row["license"]):
            made["licenses"] = [
                {"license": {"id": spdx} if (spdx := SPDX_IDS.get(name.lower())) else {"name": name}} for name in names
            ]
        if address := _purl(row):
            made["purl"] = address
        properties = {"lineage:weights_digest": row["weights_digest"]}
        if edge:
            properties |= {
                "lineage:relation": edge["kind"],
                "lineage:probability": str(edge["probability"]),
                "lineage:decided_by": ", ".join(edge["decided_by"] or ()) or None,
            }
        made["properties"] = [{"name": name, "value": value} for name, value in properties.items() if value]
        if hub_id not in opened:
            opened.add(hub_id)
            above = [component(parent["parent"], parent) for parent in _one_a_parent(found.edges.get(hub_id, []))]
            if above:
                made["pedigree"] = {"ancestors": above, "notes": _notes(found, hub_id)}
        return made

    subject = component(found.model, None)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_identity(found)}",
        "version": 1,
        "metadata": {
            "timestamp": found.written_at.isoformat(timespec="seconds"),
            "tools": {"components": [{"type": "application", "name": "lineage"}]},
            "component": subject,
        },
    }


def spdx(found: Pedigree) -> dict[str, Any]:
    """An SPDX 3.0.1 document in JSON-LD: an AI package a model, and what it descends from, was copied from and is licensed as."""
    base = f"urn:uuid:{_identity(found)}"
    elements = list(_spdx_elements(found, base))
    tool = {"type": "Tool", "spdxId": f"{base}#tool", "creationInfo": "_:made", "name": "lineage"}
    maker = {"type": "SoftwareAgent", "spdxId": f"{base}#agent", "creationInfo": "_:made", "name": "lineage"}
    made = {
        "type": "CreationInfo",
        "@id": "_:made",
        "specVersion": "3.0.1",
        "created": found.written_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "createdBy": [maker["spdxId"]],
        "createdUsing": [tool["spdxId"]],
    }
    document = {
        "type": "SpdxDocument",
        "spdxId": f"{base}#document",
        "creationInfo": "_:made",
        "profileConformance": ["core", "software", "simpleLicensing"],
        "rootElement": [_spdx_id(base, found.model)],
        "element": [element["spdxId"] for element in (maker, tool, *elements)],
    }
    return {"@context": SPDX_CONTEXT, "@graph": [made, maker, tool, document, *elements]}


def _spdx_elements(found: Pedigree, base: str) -> Iterator[dict[str, Any]]:
    licences: set[str] = set()
    for hub_id, row in found.about.items():
        package = {
            "type": "ai_AIPackage",
            "spdxId": _spdx_id(base, hub_id),
            "creationInfo": "_:made",
            "name": row["repo_id"],
            "software_primaryPurpose": "model",
            "software_packageVersion": row["revision"],
            "software_packageUrl": _purl(row),
            "comment": f"weights {row['weights_digest']}" if row["weights_digest"] else None,
        }
        yield {name: value for name, value in package.items() if value}
        if names := licence_names(row["license"]):
            name = " AND ".join(SPDX_IDS.get(each.lower()) or "LicenseRef-" + _plain(each) for each in names)
            licence = f"{base}#licence-{name.replace(' ', '-')}"
            if name not in licences:
                licences.add(name)
                yield {
                    "type": "simplelicensing_LicenseExpression",
                    "spdxId": licence,
                    "creationInfo": "_:made",
                    "simplelicensing_licenseExpression": name,
                }
            yield _relationship(base, hub_id, "hasDeclaredLicense", _spdx_id(base, hub_id), licence, None)
    for child, edges in found.edges.items():
        for edge in edges:
            if edge["parent"] not in found.about:
                continue
            ends = _spdx_id(base, child), _spdx_id(base, edge["parent"])
            copied = edge["kind"] == Relation.COPY_OF
            start, end = ends[::-1] if copied else ends
            yield _relationship(base, child, "copiedTo" if copied else "descendantOf", start, end, _told(edge))


def _relationship(base: str, child: str, kind: str, start: str, end: str, comment: str | None) -> dict[str, Any]:
    made = {
        "type": "Relationship",
        "spdxId": f"{base}#{kind}-{uuid.uuid5(NAMESPACE, ' '.join((child, kind, start, end, comment or '')))}",
        "creationInfo": "_:made",
        "from": start,
        "to": [end],
        "relationshipType": kind,
        "comment": comment,
    }
    return {name: value for name, value in made.items() if value}


def _notes(found: Pedigree, hub_id: str) -> str:
    names = [
        f"{found.about[edge['parent']]['repo_id']}: {_told(edge)}"
        for edge in found.edges[hub_id]
        if edge["parent"] in found.about
    ]
    return "; ".join(names)


def _told(edge: Mapping[str, Any]) -> str:
    why = ", ".join(edge["decided_by"] or ())
    return f"{edge['kind']}, probability {chance(edge['probability'])}" + (f", decided by {why}" if why else "")


def _one_a_parent(edges: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of several relations to one parent, the most probable."""
    return list({edge["parent"]: edge for edge in reversed(edges)}.values())[::-1]


def _identity(found: Pedigree) -> uuid.UUID:
    """The same for the same model at the same revision and the same moment."""
    row = found.about[found.model]
    parts = (found.model, row["revision"], row["weights_digest"], found.written_at.isoformat())
    return uuid.uuid5(NAMESPACE, " ".join(str(part) for part in parts))


def _purl(row: Mapping[str, Any]) -> str | None:
    """A package URL (type `huggingface`) of a repository on the Hub; models on disk have none."""
    if row["hub_id"].startswith(LOCAL):
        return None
    name = "/".join(quote(part, safe="") for part in row["repo_id"].split("/"))
    return f"pkg:huggingface/{name}" + (f"@{row['revision'].lower()}" if row["revision"] else "")


def _spdx_id(base: str, hub_id: str) -> str:
    return f"{base}#model-{quote(hub_id, safe='')}"


def _plain(text: str) -> str:
    return "".join(
        character if (character.isascii() and character.isalnum()) or character in ".-" else "-" for character in text
    )
