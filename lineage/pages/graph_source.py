"""A family out of the graph: models and edges as pages take them, now or as of an earlier moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from lineage.answer import sentence_of
from lineage.graphdb.records import claims_of
from lineage.pages.members import Brood, EdgeFacts, Member
from lineage.queries import load
from lineage.queries.parent_query import reason_in

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

BATCH = 1_000  # models a statement
COSTLY = 200  # children from which on they are kept for a while
MOST_KEPT = 1_000


class GraphRelatives:
    """The accepted edges of a graph.

    Args:
        at: ISO moment; then edges as they were in the graph at that moment, else those of now.
        min_probability: edges less probable are left out.
        kept: children of models that have very many, from earlier questions; see `KeptBroods`.
    """

    def __init__(
        self, store: Store, at: str | None = None, min_probability: float = 0.0, kept: KeptBroods | None = None
    ):
        self._store, self._at, self._least = store, at, min_probability
        self._kept = kept if at is None else None

    def facts(self, ids: Collection[str]) -> Mapping[str, Member]:
        return {member.id: member for member in members(self._store, ids)}

    def parents(self, ids: Collection[str]) -> Sequence[EdgeFacts]:
        return [
            edge
            for edge in edges_above(self._store, ids, self._at)
            if edge.accepted and (edge.probability or 0.0) >= self._least
        ]

    def children(self, shown: Mapping[str, int]) -> Mapping[str, Brood]:
        found: dict[str, Brood] = {}
        for limit in sorted(set(shown.values())):
            models = [model for model, n in shown.items() if n == limit]
            if self._kept is None:
                found |= self._children(models, limit)
                continue
            with (
                self._kept.one_at_a_time
            ):  # several at once would each count the same thousands, and the engine's memory is small
                found |= self._kept.known(models, limit, self._least)
                unread = [model for model in models if model not in found]
                if unread:
                    found |= self._children(unread, limit)
                    self._kept.keep({model: found[model] for model in unread if model in found}, limit, self._least)
        return found

    def _children(self, models: Sequence[str], limit: int) -> Mapping[str, Brood]:
        params: dict[str, Any] = {"models": list(models), "min_probability": self._least}
        if self._at is not None:
            rows = self._store.read(load("children_as_of").text, {**params, "at": self._at})
        else:
            rows = self._store.read(load("first_children").text, {**params, "shown": limit})
        by_parent: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            by_parent.setdefault(row["via"], []).append(row)
        found = {}
        for parent, own in by_parent.items():
            first = {row["hub_id"]: None for row in own}
            chosen = set(islice(first, limit))
            edges = tuple(
                EdgeFacts(row["hub_id"], parent, row["kind"], row["probability"])
                for row in own
                if row["hub_id"] in chosen
            )
            total = max(own[0]["total"] or 0, len(first))
            found[parent] = Brood(edges, total, {row["hub_id"]: row["children"] for row in own})
        return found


class KeptBroods:
    """The children of models with very many, kept for a short while: counting thousands is most of the time of a page.

    Args:
        seconds: how long one is believed. clock: monotonic seconds.
    Attributes:
        one_at_a_time: held by who reads children that are not kept.
    """

    def __init__(self, seconds: float = 30.0, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._rows: dict[tuple[str, int, float], tuple[float, Brood]] = {}
        self._lock = threading.Lock()
        self.one_at_a_time = threading.Lock()

    def known(self, models: Collection[str], limit: int, least: float) -> dict[str, Brood]:
        """Those of some models that are still believed."""
        now = self._clock()
        with self._lock:
            rows = {model: self._rows.get((model, limit, least)) for model in models}
        return {model: row[1] for model, row in rows.items() if row is not None and now - row[0] < self._seconds}

    def keep(self, broods: Mapping[str, Brood], limit: int, least: float) -> None:
        """Those that were costly."""
        now = self._clock()
        with self._lock:
            for model, brood in broods.items():
                if brood.total >= COSTLY:
                    self._rows[model, limit, least] = (now, brood)
            if len(self._rows) > MOST_KEPT:
                latest = sorted(self._rows.items(), key=lambda item: -item[1][0])[: MOST_KEPT // 2]
                self._rows = dict(latest)


def members(store: Store, ids: Collection[str]) -> list[Member]:
    """Models of the graph, by their hub_ids; what cards claim is with them, but not compared."""
    found = []
    wanted = list(ids)
    for start in range(0, len(wanted), BATCH):
        rows = store.read(load("facts").text, {"models": wanted[start : start + BATCH]})
        names = {row["hub_id"]: row["repo_id"] for row in rows}
        found += [replace(_member(row), reason=sentence_of(reason_in(store, row, names))) for row in rows]
    return found


def edges_above(store: Store, ids: Collection[str], at: str | None = None) -> list[EdgeFacts]:
    """Every edge of some models to parents and possible parents, the most probable first; with `at` those of that moment."""
    found = []
    wanted = list(ids)
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        if at is None:
            rows = store.read(load("evidence").text, {"models": part})
        else:
            rows = store.read(load("parents_as_of").text, {"models": part, "at": at})
        found += [edge_of(row) for row in rows]
    return found


def edges_between(store: Store, child: str, parent: str) -> list[EdgeFacts]:
    """Every relation between two models, those of now first, then history, the latest first."""
    rows = store.read(load("edge").text, {"child": child, "parent": parent})
    return [edge_of(row) for row in rows]


def edge_of(row: Mapping[str, Any]) -> EdgeFacts:
    """An edge of a row of evidence.cypher, edge.cypher, parents_as_of.cypher; columns that it lacks are not known."""
    digests = [(row.get(name), row.get(f"{name}_now")) for name in ("child_digest", "parent_digest")]
    known = all(then and now for then, now in digests)
    return EdgeFacts(
        child=row["child"],
        parent=row["parent"],
        relation=row["kind"],
        probability=row["probability"],
        decided_by=tuple(row.get("decided_by") or ()),
        method=row.get("method"),
        method_version=row.get("method_version"),
        share=row.get("share"),
        evidence=_evidence(row.get("evidence")),
        run_id=row.get("run_id"),
        first_verified_at=row.get("first_verified_at"),
        last_verified_at=row.get("last_verified_at"),
        superseded_at=row.get("superseded_at"),
        child_revision=row.get("child_revision"),
        parent_revision=row.get("parent_revision"),
        digests_now=all(then == now for then, now in digests) if known else None,
    )


def _evidence(text: str | None) -> Mapping[str, Any]:
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}


def _member(row: Mapping[str, Any]) -> Member:
    answer = row["answer"] or "unknown"
    return Member(
        id=row["hub_id"],
        name=row["repo_id"],
        answer=answer if answer in ("parent", "root", "undecided", "no_relatives") else "unknown",
        probability=row["answer_probability"],
        status=row["status"],
        status_reason=row["reason"],
        revision=row["revision"],
        digest=row["weights_digest"],
        license=row["license"],
        library=row["library"],
        architecture=row["signature"],
        created_at=row["created_at"],
        downloads=row["downloads"],
        answered_at=row["answered_at"],
        claims=tuple(claims_of(row["hub_id"], row["bases"], row["relations"], row["sources"])),
    )
