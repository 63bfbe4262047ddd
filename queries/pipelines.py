"""Repositories of several models, such as diffusion pipelines, in the graph: a question about one means its main part.

The repository and each of its parts are models of their own, `<hub_id>` and `<hub_id>/<part>`. Weights belong to the parts, claims to the
repository: its card is about the main part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lineage.graphdb.schema import LOCAL, MAIN_PARTS, Model, Status
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader

_OF_CLAIMS = ("bases", "relations", "sources", "known")


def main_part(store: GraphReader, model: Model) -> Model | None:
    """The main part of a pipeline; None where a model is not one."""
    if model.weights_digest is not None or not _may_be_whole(model.hub_id):
        return None
    parts = (store.model(part) for part in _possible_parts(model.hub_id))
    return next((part for part in parts if part is not None and _belongs(part.status, model.status)), None)


def parts_of(store: GraphReader, model: Model) -> list[Model]:
    """The models of a repository that holds several of which none is the main one, as checkpoints or adapters in folders of their own."""
    names = model.several if model.weights_digest is None else ()
    parts = (store.model(f"{model.hub_id}/{name}") for name in names)
    return [part for part in parts if part is not None and _belongs(part.status, model.status)]


def whole_of(hub_id: str) -> str | None:
    """Identity of the repository of which a model is the main part; None for other models."""
    whole, _, part = hub_id.partition("/")
    return whole if part in MAIN_PARTS and not hub_id.startswith(LOCAL) else None


def main_parts(store: GraphReader, rows: Iterable[Mapping[str, Any]], question: str) -> dict[str, Mapping[str, Any]]:
    """Identity of each pipeline -> the answer about its main part.

    Args:
        rows: of models, with `hub_id`, `status` and `signature`. question: takes `models`, and answers with these columns and others.
    """
    wholes = {
        row["hub_id"]: row["status"]
        for row in rows
        if row["signature"] is None and row["status"] != Status.ADAPTER and _may_be_whole(row["hub_id"])
    }
    if not wholes:
        return {}
    parts = [part for whole in wholes for part in _possible_parts(whole)]
    found = {row["hub_id"]: row for row in store.read(load(question).text, {"models": parts})}
    main: dict[str, Mapping[str, Any]] = {}
    for whole, status in wholes.items():
        there = [found[part] for part in _possible_parts(whole) if part in found]
        part = next((part for part in there if _belongs(part["status"], status)), None)
        if part is not None:
            main[whole] = part
    return main


def with_claims_of(part: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of declared_vs_detected.cypher about a main part, with the claims of its repository where it has none."""
    return part if part["bases"] else {**part, **{name: whole[name] for name in _OF_CLAIMS}}


def _belongs(part: str, whole: str) -> bool:
    """Whether a part counts, by the status of both: one that is gone only where its repository is as well."""
    return part != Status.GONE or whole == Status.GONE


def _may_be_whole(hub_id: str) -> bool:
    return "/" not in hub_id and not hub_id.startswith(LOCAL)


def _possible_parts(hub_id: str) -> list[str]:
    return [f"{hub_id}/{part}" for part in MAIN_PARTS]
