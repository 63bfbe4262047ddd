"""From rows that a statement answers to models and claims, and the keys by which the graph looks up names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lineage.graphdb.schema import Declaration, Model, Status

MODEL_FIELDS = tuple(f.name for f in fields(Model))
QUANTIZATION = "quantisation"  # the property in the graph, as the first version spelt it


def name_key(repo_id: str, hub_id: str = "") -> str:
    """What a name is looked up by: the Hub ignores letter case in names, a disk does not in paths."""
    return repo_id if hub_id.startswith("local:") or repo_id.startswith("/") else repo_id.lower()


def short_key(repo_id: str) -> str:
    """The last part of a name, in lower case: to find a model whose organisation was forgotten or mistyped."""
    return repo_id.rstrip("/").rpartition("/")[2].lower()


def model_of(properties: Mapping[str, Any]) -> Model:
    """The model of a node's properties; required ones fail when missing."""
    values: dict[str, Any] = {name: properties.get(name) for name in MODEL_FIELDS}
    values["quantization"] = properties.get(QUANTIZATION)
    values.update(aliases=tuple(values["aliases"] or ()))
    values.update(hub_id=properties["hub_id"], repo_id=properties["repo_id"], status=Status(properties["status"]))
    return Model(**values)


def claims_of(
    hub_id: str, bases: list[str] | None, relations: list[str] | None, sources: list[str] | None
) -> list[Declaration]:
    """The claims in a node's three parallel lists."""
    rows = zip(bases or (), relations or (), sources or (), strict=True)
    return [
        Declaration(child=hub_id, base=base, relation=relation or None, source=source)
        for base, relation, source in rows
    ]
