"""Licences along the chain above a model, and where one contradicts another.

A rule of thumb over the Hub's licence names, not legal advice: it finds what a person should look at. What a licence asks of models
that come from one:

    permissive       nothing that a later licence could contradict (apache-2.0, mit, cc-by-4.0, …)
    share-alike      models that come from it keep the same licence (gpl-3.0, cc-by-sa-4.0, …)
    non-commercial   models that come from it stay non-commercial (cc-by-nc-4.0, …)
    no-derivatives   there are to be none (cc-by-nd-4.0, …)
    own terms        its own terms go on with it (llama3, gemma, openrail, …)
    unknown          nothing is said, or `other`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lineage.graphdb.schema import Model
from lineage.queries import load
from lineage.queries.graph_reader import GraphReader
from lineage.queries.walk import BATCH, EVERYTHING, Limits, Relative, ancestors

CLASSES = (  # the first that fits; an own licence may carry a plain name within it (`llama3`, `bigscience-openrail-m`)
    (
        "own terms",
        r"openrail|bigscience|bigcode|llama|gemma|deepseek|qwen|falcon|stability|mistral|cohere|apple|fair|grok",
    ),
    ("no-derivatives", r"^cc-.*nd\b"),
    ("non-commercial", r"^cc-.*nc\b|non-?commercial|research"),
    ("share-alike", r"^a?l?gpl|^cc-.*sa\b|^mpl|^osl|^epl|^eupl|^odbl|^cdla-sharing|^ms-rl|^ofl|^gfdl|^cecill"),
    (
        "permissive",
        r"^apache|^mit$|^bsd|^isc$|^cc0|^cc-by(-\d.*)?$|^unlicense|^zlib|^bsl-1|^wtfpl|^artistic|^afl|^ncsa|^postgresql"
        r"|^ecl|^lppl|^pddl|^odc-by|^cdla-permissive|^ms-pl|^etalab|^openmdw|^c-uda|^intel-",
    ),
)

NO_NAME = ("", "other", "unknown", "none")  # what cards say where no licence is named


@dataclass(frozen=True, slots=True)
class Link:
    """An ancestor's licence beside that of the model that was asked about.

    Attributes:
        outcome: `fits`, `conflict` or `cannot tell`.
        reason: one sentence.
    """

    ancestor: Relative
    license: str | None
    outcome: str
    reason: str


def licence_class(name: str | None) -> str:
    """One of the classes above."""
    key = (name or "").strip().lower()
    if key in NO_NAME:
        return "unknown"
    return next((kind for kind, pattern in CLASSES if re.search(pattern, key)), "unknown")


def licence_names(text: str | None) -> tuple[str, ...]:
    """The licences of one model; several have `, ` between them."""
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))


def judge(license: str | None, above: str | None) -> tuple[str, str]:
    """(outcome, reason) for a model with some licence that comes from a model with another.

    Where the ancestor has several, the one that is met worst counts; where the model has several, one that meets it is enough.
    """
    order = ("conflict", "cannot tell", "fits")
    found = [
        max((_judge(own, each) for own in licence_names(license) or (None,)), key=lambda found: order.index(found[0]))
        for each in licence_names(above) or (None,)
    ]
    return min(found, key=lambda found: order.index(found[0]))


def _unknown(name: str | None, whose: str) -> str:
    if (name or "").strip().lower() in NO_NAME:
        return f"{whose} licence is not known"
    return f"{whose} licence, {name}, is not one that lineage has rules for"


def _judge(license: str | None, above: str | None) -> tuple[str, str]:
    own, kind = licence_class(license), licence_class(above)
    if kind == "unknown":
        return "cannot tell", _unknown(above, "the ancestor's")
    if kind == "no-derivatives":
        return "conflict", f"{above} allows no derived models"
    if kind == "permissive":
        return "fits", f"{above} asks nothing that could be contradicted"
    if own == "unknown":
        unknown = _unknown(license, "the model's own")
        return "cannot tell", f"{above} asks something of derived models, and {unknown}"
    if kind == "non-commercial":
        if own in ("non-commercial", "no-derivatives"):
            return "fits", f"{above} and {license} are both non-commercial"
        return "conflict", f"{above} is non-commercial, {license} is not"
    if (license or "").lower() == (above or "").lower():
        return "fits", f"both are {above}"
    what = (
        "asks for the same licence" if kind == "share-alike" else "has terms of its own that carry over to derivatives"
    )
    return "conflict", f"{above} {what}, the model says {license}"


def licence_chain(store: GraphReader, model: Model, limits: Limits = EVERYTHING) -> list[Link]:
    """Every ancestor's licence beside the model's own, nearest first."""
    above = ancestors(store, model.hub_id, limits)
    licences = _licences(store, [model.hub_id, *(relative.hub_id for relative in above)])
    own = licences.get(model.hub_id)
    return [
        Link(relative, licences.get(relative.hub_id), *judge(own, licences.get(relative.hub_id))) for relative in above
    ]


def all_conflicts(store: GraphReader, at_once: int = 50) -> Iterator[dict[str, Any]]:
    """Every licence in the graph that contradicts one above it within six generations, as rows; the graph is walked a few models a time.

    Args:
        at_once: ancestors a statement.
    """
    stated = [row["license"] for row in store.read(load("licences_stated").text, {})]
    asking = [name for name in stated if licence_class(name) not in ("permissive", "unknown")]
    models = (row["hub_id"] for row in store.stream(load("licensed_parents").text, {"licenses": asking}))
    while part := list(islice(models, at_once)):
        for row in store.read(load("licence_heirs").text, {"models": part}):
            outcome, reason = judge(row["license"], row["above"])
            if outcome == "conflict":
                yield {
                    "repo_id": row["repo_id"],
                    "license": row["license"],
                    "ancestor": row["ancestor_name"],
                    "above": row["above"],
                    "depth": row["depth"],
                    "outcome": outcome,
                    "reason": reason,
                    "hub_id": row["hub_id"],
                    "ancestor_id": row["ancestor"],
                }


def _licences(store: GraphReader, models: list[str]) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    for start in range(0, len(models), BATCH):
        rows = store.read(load("licences").text, {"models": models[start : start + BATCH]})
        found |= {row["hub_id"]: row["license"] for row in rows}
    return found
