"""What the graph knows of one architecture, before any sample is read: its models, their claims, and whose sample is at hand.

Detection is a function of that, of the samples (a digest of weights names one for good) and of its options. So a digest of all this
tells whether an architecture has to be decided again; the graph keeps the one of the last decision.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import ACCEPTED, Model, Relation, Verdict
from lineage.graphdb.schema.rows import name_key

if TYPE_CHECKING:
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import Store

logger = logging.getLogger(__name__)


Original = tuple[str, str, tuple[str, ...], str | None]


@dataclass(frozen=True, slots=True)
class ArchitectureModels:
    """The models of one architecture that have weights, also those that are gone from where they were.

    Attributes:
        models: those whose sample is at hand, in order of identity.
        declared: hub_id -> hub_ids of the models that its card names, and see `absent_base`.
        without_sketch: hub_ids of those whose sample is not at hand.
        originals: of quantized copies, hub_id -> the models of other architectures that they claim: (hub_id, name, sources, digest of
            weights).
        bound: hub_ids of those that were found to come, or possibly to come, from a model that lacks now. What was found of
            them stays.
        replaced: hub_id of a model that is compared no more -> that of the one that has its name and its weights now.
    """

    models: Sequence[Model]
    declared: Mapping[str, frozenset[str]]
    without_sketch: tuple[str, ...]
    bound: frozenset[str]
    originals: Mapping[str, Sequence[Original]] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)

    def digest(self, options: Options) -> str:
        """Of everything that a decision about them depends on. A commit that leaves the weights alone changes nothing."""
        from lineage.detect.method_version import method_version

        models = [
            [
                model.hub_id,
                model.repo_id,
                model.weights_digest,
                model.weights_date and model.weights_date.isoformat(),
                model.quantization,
                sorted(self.declared.get(model.hub_id, ())),
            ]
            for model in self.models
        ]
        all_of_it: list[Any] = [
            _code(),
            method_version(options.method, options.settings),
            asdict(options),
            models,
            sorted(self.bound),
            sorted(self.without_sketch),
        ]
        if self.originals:
            all_of_it.append(sorted(self.originals.items()))
        if self.replaced:
            all_of_it.append(sorted(self.replaced.items()))
        return hashlib.sha256(json.dumps(all_of_it, sort_keys=True, default=str).encode()).hexdigest()


def known_of(graph: Store, sketches: SketchStore, signature: str) -> ArchitectureModels:
    """Everything but the samples."""
    from lineage.queries import load

    models: list[Model] = []
    missing: list[Model] = []
    successors: dict[str, str] = {}
    for model in graph.models(signature):
        if successor := replaced_by(graph, model):
            successors[model.hub_id] = successor
        elif model.weights_digest is not None:
            at_hand = sketches.holds(model.weights_digest)
            (models if at_hand else missing).append(model)
    absent = {row["child"] for row in graph.stream(load("absent_parents").text, {"signature": signature})}
    without = tuple(model.hub_id for model in missing)
    for model in missing:
        logger.info("%s: its sample is missing", model.repo_id)
    bound = children_of(graph, without) | absent
    originals = claimed_originals(graph, signature) if any(model.quantized for model in models) else {}
    return ArchitectureModels(models, declared_in(graph, signature), without, bound, originals, successors)


def replaced_by(graph: Store, model: Model) -> str | None:
    """Identity of the repository that has taken a model's name and holds the same weights: it was deleted and made again, then.

    Such a model is compared no more, and its edges are history: the new one would be a copy of it, and every family there twice.
    """
    name, separator, hub_id = model.repo_id.rpartition("#")
    if not separator or hub_id != model.hub_id or model.weights_digest is None:
        return None
    successor = graph.model(name)
    return successor.hub_id if successor is not None and successor.weights_digest == model.weights_digest else None


def replaced_verdicts(replaced: Mapping[str, str]) -> list[Verdict]:
    """What the graph keeps of models that others have taken the place of.

    Args:
        replaced: see `ArchitectureModels`.
    """
    from lineage.detect.reasons import Reason

    kept = {model: Reason("replaced", models={"successor": by}).as_json() for model, by in replaced.items()}
    return [Verdict(model, "replaced", str(reason.pop("key")), 1.0, reason) for model, reason in kept.items()]


def subjects_of(
    models: Iterable[Model], declared: Mapping[str, frozenset[str]], sketches: SketchStore, at_once: int | None = None
) -> Iterator[tuple[Model, Subject | None]]:
    """Models in their order, with what they are compared by; without where the sample cannot be read.

    Args:
        at_once: maximum number of samples in memory; None is all of them, which is read quickest.
    """
    from lineage.detect.model_input import Subject

    source = iter(models)
    while some := list(islice(source, at_once)):
        found = {sketch.digest: sketch for sketch in sketches.many(m.weights_digest for m in some if m.weights_digest)}
        for model in some:
            sketch = found.get(model.weights_digest or "")
            claims = declared.get(model.hub_id, frozenset())
            yield (
                model,
                Subject(model.hub_id, sketch, model.weights_date, claims, model.repo_id, model.quantization)
                if sketch
                else None,
            )


def declared_in(graph: Store, signature: str) -> Mapping[str, frozenset[str]]:
    """hub_id of each model of an architecture -> hub_ids of the models that its card names, read or not, and see `absent_base`."""
    from lineage.queries import load

    declared: dict[str, set[str]] = {}
    for row in graph.stream(load("declared_pairs").text, {"signature": signature}):
        declared.setdefault(row["child"], set()).add(row["parent"])
    for row in graph.stream(load("absent_bases").text, {"signature": signature}):
        for base in set(row["bases"]).difference(row["known"]):
            if (absent := absent_base(base, row["name"])) is not None:
                declared.setdefault(row["child"], set()).add(absent)
    return {child: frozenset(named) for child, named in declared.items()}


def absent_base(base: str, own: str) -> str | None:
    """What a base that the graph does not know goes by where models are compared, since two that name it may be siblings: "absent:" and its
    name. None for a path or a word that is no repository's name, and for the model's own name. own: the model's repo_id."""
    organisation, _, name = base.partition("/")
    if not organisation.strip(".~") or not name or "/" in name or name_key(base) == name_key(own):
        return None
    return f"absent:{name_key(base)}"


def claimed_originals(graph: Store, signature: str) -> Mapping[str, Sequence[Original]]:
    """hub_id of a quantized copy -> models that it claims and that were not compared with it; see `ArchitectureModels.originals`."""
    from lineage.queries import load

    found: dict[str, list[Original]] = {}
    for row in graph.stream(load("claimed_originals").text, {"signature": signature}):
        if not row["quantized"]:
            original = (row["parent"], row["name"], tuple(row["sources"] or ()), row["weights_digest"])
            found.setdefault(row["child"], []).append(original)
    return found


def children_of(graph: Store, parents: Iterable[str]) -> frozenset[str]:
    """hub_ids of the models whose parent, or possible parent, is one of these."""
    from lineage.queries import load

    models = list(parents)
    if not models:
        return frozenset()
    kinds = [str(kind) for kind in (*ACCEPTED, Relation.POSSIBLE_PARENT)]
    params = {"models": models, "kinds": kinds, "min_probability": 0.0}
    return frozenset(row["hub_id"] for row in graph.read(load("children").text, params))


@cache
def _code() -> str | None:
    try:
        return version("model-lineage")
    except PackageNotFoundError:
        return None
