"""The parents of one model as the graph knows them: one statement, from the name on. What it means is said elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.graphdb.schema import ACCEPTED, Declaration, Model, Relation
from lineage.graphdb.schema.kept_reason import KeptReason, kept_reason, mentioned
from lineage.graphdb.schema.rows import claims_of, model_of, name_key
from lineage.queries import load
from lineage.queries.claim_check import Comparison, Kin, compare_row
from lineage.queries.graph_reader import GraphReader
from lineage.queries.pipelines import main_part, whole_of, with_claims_of
from lineage.queries.resolve import ending_in, keys
from lineage.queries.walk import AncestorEdges


@dataclass(frozen=True, slots=True)
class ParentRows:
    """Everything that an answer is made of.

    Attributes:
        about: properties of the model: `answer`, `answer_probability`, `answered_at` and others, null where it was never compared.
        reason: of the answer, with the names that models have now; None where absent.
        accepted, possible: edges to parents, the most probable first: `hub_id`, `repo_id`, `kind`, `probability`, `share`,
            `decided_by`, `evidence` (JSON), `method`, `method_version`, `verified_at`.
        declared: what its card and configuration claim; agreement: that beside the weights.
    """

    model: Model
    about: Mapping[str, Any]
    reason: KeptReason | None
    accepted: Sequence[Mapping[str, Any]]
    possible: Sequence[Mapping[str, Any]]
    declared: tuple[Declaration, ...]
    agreement: Comparison


def parent_named(store: GraphReader, text: str) -> ParentRows | None:
    """For a model as a person names it, of a pipeline for its main part; None if the graph does not know it.

    Raises:
        NoSuchModel: several models on disk may be meant.
    """
    found = next((rows for key in keys(text) if (rows := _rows(store, key, name_key(key))) is not None), None)
    if found is not None and (found.model.path is None or name_key(text) == name_key(found.model.repo_id)):
        part = main_part(store, found.model)
        return found if part is None else parent_of(store, part)
    meant = ending_in(store, text)
    return _rows(store, meant, "") if meant is not None else found


def parent_of(store: GraphReader, model: Model) -> ParentRows:
    """For a model of the graph."""
    rows = _rows(store, model.hub_id, "")
    if rows is None:
        raise ValueError(f"{model.hub_id} is not in the graph")
    return rows


def reasons_in(
    store: GraphReader, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str] | None = None
) -> list[KeptReason | None]:
    """The reasons of answers with the names that models have now.

    Args:
        rows: with `answer_reason` and `answer_reason_values`.
        names: identity -> name of models that are at hand; where it is left out, those of the rows. Others are looked up, all at once.
    """
    known = names if names is not None else {row["hub_id"]: row["repo_id"] for row in rows}
    kept = [(row.get("answer_reason"), row.get("answer_reason_values")) for row in rows]
    absent = sorted({model for key, values in kept for model in mentioned(key, values)} - known.keys())
    if absent:
        found = store.read(load("names_of").text, {"models": absent})
        known = {**known, **{row["hub_id"]: row["repo_id"] for row in found}}
    return [kept_reason(key, values, known) for key, values in kept]


def _rows(store: GraphReader, hub_id: str, key: str) -> ParentRows | None:
    """For the model of an identity, else of a name's key."""
    found = store.read(load("who_is_parent").text, {"hub_id": hub_id, "name_key": key})
    if not found:
        return None
    about, model = found[0]["model"], model_of(found[0]["model"])
    near = [row for row in found[0]["near"] if row["hub_id"] is not None]
    near.sort(key=lambda row: (-(row["probability"] or 0.0), row["repo_id"], row["hub_id"], row["kind"]))
    accepted = [row for row in near if row["kind"] in ACCEPTED]
    accepted.sort(key=lambda row: -(row["share"] or 0.0))  # of a merge, the larger share first
    claims = {name: about.get(f"declared_{name}") for name in ("bases", "relations", "sources")}
    beside = {**about, "answer": about.get("answer"), "signature": model.signature, **claims}
    beside["known"] = [row for row in near if row["kind"] == Relation.DECLARES_BASE]
    if not claims["bases"] and (whole := whole_of(model.hub_id)) is not None:
        for row in store.read(load("declared_vs_detected").text, {"models": [whole]}):
            beside = dict(with_claims_of(beside, row))
    names = {model.hub_id: model.repo_id, **{row["hub_id"]: row["repo_id"] for row in near}}
    return ParentRows(
        model,
        about,
        reasons_in(store, [about], names)[0],
        accepted,
        [row for row in near if row["kind"] == Relation.POSSIBLE_PARENT],
        tuple(claims_of(model.hub_id, beside["bases"], beside["relations"], beside["sources"])),
        compare_row(Kin(store, AncestorEdges(store)), beside | {"parents": accepted}),
    )
