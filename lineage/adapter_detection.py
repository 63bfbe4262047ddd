"""Between the graph and the bases of adapters: adapters out of it, decisions about them into it.

An adapter is decided again when something that its decision depends on has changed: its weights, its claims, the models that these
name, or, where no claim names a known model, the architectures that are known. A digest of all this is kept with it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lineage.adapters import Adapter, decide_about_adapter
from lineage.graphdb.schema import Declaration, Model

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import Store

logger = logging.getLogger(__name__)

AT_ONCE = 500  # adapters in memory
NAMES_HELD = 100_000  # of bases
METHOD = "adapters 2"  # a new number decides all of them again

Row = tuple[Model, Sequence[Declaration], str | None]


def decide_adapters(
    graph: Store,
    sketches: SketchStore,
    options: Options,
    run_id: str,
    should_stop: Callable[[], bool] = lambda: False,
    everything: bool = False,
) -> tuple[dict[str, int], Any]:
    """Decides about every adapter of the graph of which something has changed, and stores it.

    Args:
        should_stop: asked between batches.
        everything: also those of which nothing has changed.
    Returns:
        Counts (`adapters`, `adapters_with_base`, `adapters_undecided`, `adapters_contradicted`, `adapters_unchanged`); what changed in
        the graph (`EdgeCounts`).
    """
    from lineage.detect.decision import AnswerKind
    from lineage.detection import as_edges
    from lineage.graphdb.edges import EdgeCounts

    names = ("adapters", "adapters_with_base", "adapters_undecided", "adapters_contradicted", "adapters_unchanged")
    count, changed = dict.fromkeys(names, 0), EdgeCounts()
    work = _AdapterPass(graph, sketches, options)
    for rows in graph.adapters(AT_ONCE):
        if should_stop():
            break
        digests = {model.hub_id: work.digest(model, claims) for model, claims, _ in rows}
        due = [row for row in rows if everything or row[2] != digests[row[0].hub_id]]
        count["adapters_unchanged"] += len(rows) - len(due)
        if not due:
            continue
        decisions = work.decide(due)
        revisions = {model.hub_id: model.revision for model, _, _ in due}
        edges, verdicts = as_edges(decisions, options, revisions)
        changed += graph.replace_edges([d.model for d in decisions], edges, verdicts, run_id)
        graph.set_adapters_decided({d.model: digests[d.model] for d in decisions})
        answers = [decision.answer for decision in decisions]
        count["adapters"] += len(answers)
        count["adapters_with_base"] += answers.count(AnswerKind.PARENT)
        count["adapters_undecided"] += answers.count(AnswerKind.UNDECIDED)
        count["adapters_contradicted"] += sum(
            "misfit" in d.evidence for d in decisions if d.answer is AnswerKind.NO_RELATIVES
        )
    logger.info("%d adapters, %d with a base", count["adapters"], count["adapters_with_base"])
    return count, changed


class _AdapterPass:
    """What all adapters of one pass are decided with."""

    def __init__(self, graph: Store, sketches: SketchStore, options: Options):
        from lineage.surroundings import GraphSurroundings

        self.graph, self.sketches, self.options = graph, sketches, options
        self.around = GraphSurroundings(graph, sketches)
        self._named: dict[str, Model | None] = {}

    @cached_property
    def architectures(self) -> str:
        """Digest of the architectures that are known, with the number of their models."""
        return _digest(sorted(self.graph.signatures()))

    def digest(self, model: Model, claims: Sequence[Declaration]) -> str:
        """Of everything that a decision about one adapter depends on."""
        content: list[Any] = [METHOD, model.weights_digest, model.repo_id, asdict(self.options)]
        named = {c: self._model(c.base) for c in claims} if self.options.declared else {}
        content.append(sorted((c.base, c.source, *_state(base)) for c, base in named.items()))
        if not any(base is not None and base.signature is not None for base in named.values()):
            content.append(self.architectures)
        return _digest(content)

    def _model(self, base: str) -> Model | None:
        """What a claim names; many adapters name one base."""
        if base not in self._named:
            if len(self._named) >= NAMES_HELD:
                self._named.clear()
            self._named[base] = self.graph.model(base)
        return self._named[base]

    def decide(self, rows: Iterable[Row]) -> list[Decision]:
        """Decisions; adapters whose sample is not at hand stay as they are."""
        rows = list(rows)
        held = {s.digest: s for s in self.sketches.many(m.weights_digest for m, _, _ in rows if m.weights_digest)}
        decisions: list[Decision] = []
        for model, claims, _ in rows:
            sketch = held.get(model.weights_digest or "")
            if model.weights_digest is not None and sketch is None:
                logger.info("%s: its sample is missing", model.repo_id)
                continue
            found = decide_about_adapter(
                Adapter(model.hub_id, model.repo_id, sketch, claims), self.around, self.options
            )
            decisions.append(found.decision)
        return decisions


def _state(model: Model | None) -> tuple[str, ...]:
    return () if model is None else (model.hub_id, str(model.status), model.weights_digest or "", model.repo_id)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
