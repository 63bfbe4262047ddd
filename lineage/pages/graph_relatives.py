"""A family out of the graph: parents and children as a folded family takes them, now or as of an earlier moment.

A family of some hundred models is read whole: one statement for the line above a model, one for everything below its oldest ancestor.
Where there are more, the children of each shown generation are asked for, the first of them only, and those of models with very many are
kept for a short while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from lineage.pages.graph_source import answer_of, edges_above, members
from lineage.pages.members import Brood, EdgeFacts, Member
from lineage.queries import load
from lineage.queries.claim_check import compare
from lineage.queries.descent import edges_below
from lineage.queries.walk import AncestorEdges, Limits, Relative

if TYPE_CHECKING:
    from lineage.graphdb.store import Store

COSTLY = 200  # children from which on they are kept for a while
MOST_KEPT = 1_000
READ_WHOLE = 20  # models whose descendants are asked for in one statement


class GraphRelatives:
    """The accepted edges of a graph.

    Args:
        at: ISO moment; then edges as they were in the graph at that moment, else those of now.
        min_probability: edges less probable are left out.
        kept: what earlier questions found of models that have very many children; see `KeptBroods`.
    """

    def __init__(
        self, store: Store, at: str | None = None, min_probability: float = 0.0, kept: KeptBroods | None = None
    ):
        self._store, self._at, self._least = store, at, min_probability
        self._kept = kept or KeptBroods()
        self._above = AncestorEdges(store)
        # edges to children, of models of which all descendants were read, and which of the children have cards that name a base
        self._below: dict[str, Sequence[Relative]] = {}
        self._claimants: set[str] = set()

    def facts(self, ids: Collection[str]) -> Mapping[str, Member]:
        return {member.id: member for member in members(self._store, ids)}

    def parents(self, ids: Collection[str]) -> Sequence[EdgeFacts]:
        if self._at is not None:
            edges = edges_above(self._store, ids, self._at)
            return [edge for edge in edges if edge.accepted and (edge.probability or 0.0) >= self._least]
        found = self._above.step(list(ids), Limits(min_probability=self._least))
        return [EdgeFacts(edge.via or "", edge.hub_id, edge.kind or "", edge.probability) for edge in found]

    def children(self, shown: Mapping[str, int]) -> Mapping[str, Brood]:
        if self._at is not None:
            rows = self._read("children_as_of", shown, at=self._at)
            return {model: _brood(model, own, shown[model]) for model, own in rows.items()}
        unread = [model for model in shown if model not in self._below and not self._kept.is_large(model)]
        if len(unread) <= READ_WHOLE:
            descent = edges_below(self._store, unread)
            self._below |= descent.edges
            self._claimants |= descent.claimants
            self._kept.large(model for model in unread if model not in self._below)
        found = {model: self._whole_brood(model, limit) for model, limit in shown.items() if model in self._below}
        rest = {model: limit for model, limit in shown.items() if model not in found}
        for limit in sorted(set(rest.values())):
            found |= self._first_broods([model for model, n in rest.items() if n == limit], limit)
        return found

    def drawn(self, ids: Collection[str]) -> dict[str, Member]:
        """Models with no more than a drawing shows: names, answers, and cards that the weights contradict.

        A child whose card names no base is known from its edge already.
        """
        plain = {
            edge.hub_id: Member(edge.hub_id, edge.repo_id, "parent")
            for edges in self._below.values()
            for edge in edges
            if edge.hub_id not in self._claimants
        }
        found = {model: plain[model] for model in ids if model in plain}
        for one in compare(self._store, [model for model in ids if model not in plain]):
            outcome = None if one.agreement is None else str(one.agreement)
            found[one.hub_id] = Member(
                one.hub_id,
                one.repo_id,
                answer_of(one.answer),
                claims=one.declared,
                outcome=outcome,
                outcome_reason=one.reason,
            )
        return found

    def _whole_brood(self, model: str, limit: int) -> Brood:
        """Of a model below which everything is known."""
        edges = self._probable(model)
        below = {edge.hub_id: len({one.hub_id for one in self._probable(edge.hub_id)}) for edge in edges}
        ordered = sorted(edges, key=lambda edge: (-below[edge.hub_id], edge.repo_id, edge.hub_id, edge.kind or ""))
        first = tuple(EdgeFacts(e.hub_id, model, e.kind or "", e.probability) for e in ordered[:limit])
        return Brood(first, len(below), {edge.child: below[edge.child] for edge in first})

    def _probable(self, model: str) -> list[Relative]:
        return [edge for edge in self._below.get(model, ()) if (edge.probability or 0.0) >= self._least]

    def _first_broods(self, models: Sequence[str], limit: int) -> Mapping[str, Brood]:
        """Of models with many descendants."""
        if not models:
            return {}
        with (
            self._kept.one_at_a_time
        ):  # several at once would each count the same thousands, and the engine's memory is small
            found = self._kept.known(models, limit, self._least)
            unread = [model for model in models if model not in found]
            if unread:
                new = self._read_first(unread, limit)
                self._kept.keep(new, limit, self._least)
                found |= new
        return found

    def _read_first(self, models: Sequence[str], limit: int) -> dict[str, Brood]:
        """Children that have children come first: only where these are too few, the others are looked at."""
        rows = self._read("first_branches", models, shown=limit)
        few = [model for model in models if len(rows.get(model, ())) < limit]
        if few:
            rows |= self._read("first_children", few, shown=limit)
        return {model: _brood(model, own, limit) for model, own in rows.items()}

    def _read(self, question: str, models: Collection[str], **params: Any) -> dict[str, list[Mapping[str, Any]]]:
        by_parent: dict[str, list[Mapping[str, Any]]] = {}
        given = {"models": list(models), "min_probability": self._least, **params}
        for row in self._store.read(load(question).text, given):
            by_parent.setdefault(row["via"], []).append(row)
        return by_parent


def _brood(parent: str, rows: Sequence[Mapping[str, Any]], limit: int) -> Brood:
    """Of rows of one parent, in order."""
    first = {row["hub_id"]: None for row in rows}
    chosen = set(islice(first, limit))
    edges = tuple(
        EdgeFacts(row["hub_id"], parent, row["kind"], row["probability"]) for row in rows if row["hub_id"] in chosen
    )
    total = max(rows[0]["total"] or 0, len(first))
    return Brood(edges, total, {row["hub_id"]: row["children"] for row in rows})


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
        self._large: dict[str, float] = {}
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

    def is_large(self, model: str) -> bool:
        """Whether a model had too many descendants to be read at once, not long ago."""
        with self._lock:
            seen = self._large.get(model)
        return seen is not None and self._clock() - seen < self._seconds

    def large(self, models: Iterable[str]) -> None:
        """Notes models that have too many descendants to be read at once."""
        now = self._clock()
        with self._lock:
            self._large |= dict.fromkeys(models, now)
            if len(self._large) > MOST_KEPT:
                latest = sorted(self._large.items(), key=lambda item: -item[1])[: MOST_KEPT // 2]
                self._large = dict(latest)
