"""One model as a person names it -> what it is and, where it can be compared, its sketch: from the graph, the Hub or this disk."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lineage.graphdb.schema import LOCAL, Declaration, Failure, Model, NoSuchModel, WeightFacts, home_path

if TYPE_CHECKING:
    from lineage.crawler.hub import Hub
    from lineage.crawler.open_model import OpenModel
    from lineage.detect.model_input import Subject
    from lineage.detect.sketch_store import Sketch, SketchStore
    from lineage.graphdb.store import Store

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class NothingComparable(NoSuchModel):
    """A model without a number that could be compared with another model's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One model, read: every way into detection begins with this.

    Attributes:
        model: with its signature; `status` is ADAPTER where the weights turned out to be those of an adapter.
        declarations: what it claims, in its card, its configuration and its weight files.
        facts: what the weight files say beside their numbers.
        sketch: without a sample where there is nothing to compare by value: an adapter.
        stored: whether this is what the graph holds.
    """

    model: Model
    declarations: tuple[Declaration, ...]
    facts: WeightFacts
    sketch: Sketch
    stored: bool = False

    def subject(self, declared: Iterable[str] = (), label: str | None = None, *, id: str | None = None) -> Subject:
        """What detection compares.

        Args:
            declared: ids of the models that it claims, as the other subjects are called.
            label, id: instead of the model's name and identity.
        """
        from lineage.detect.model_input import Subject

        model = self.model
        claims = frozenset(declared)
        return Subject(
            id or model.hub_id, self.sketch, model.weights_date, claims, label or model.repo_id, model.quantization
        )


class StoringReader:
    """Reads models and keeps what it has read in a sketch store; the crawler's `WeightReader`. Used from any thread."""

    def __init__(self, sketches: SketchStore):
        self.sketches = sketches

    def signature_if_known(self, weights_digest: str) -> str | None:
        return self.sketches.signature_if_known(weights_digest)

    def facts_if_known(self, weights_digest: str) -> WeightFacts | None:
        """None also where an earlier version kept a sample without the facts: then the weights are read again."""
        return self.sketches.facts_if_known(weights_digest)

    def read(self, opened: OpenModel) -> WeightFacts:
        """
        Raises:
            NothingComparable, Failure: see `read`; nothing is kept then.
        """
        found = read(opened, self.sketches.budget_values)
        self.sketches.keep(found.sketch)
        return found.facts

    def compact_if_due(self, at_end: bool = False) -> None:
        self.sketches.compact_if_due(at_end)


def read(opened: OpenModel, budget_values: int | None = None) -> Reading:
    """Header and sample of an opened model: the only way in which sketches of models are made.

    Args:
        budget_values: about how many values to read; None is what every command reads.
    Raises:
        NothingComparable: no weights, or none that can be compared. Failure: damaged, gated, unreachable.
    """
    from lineage.crawler.open_model import as_facts_say
    from lineage.crawler.quantized_claims import is_low_rank, quantization_in
    from lineage.detect.sketch import BUDGET_VALUES, plan
    from lineage.detect.sketch_store import make_sketch

    header = opened.header
    if not header:
        raise NothingComparable("there are no tensors in its weight files", "is this the right file?")
    how, low_rank = opened.quantization_in_weights or quantization_in(header), opened.adapter or is_low_rank(header)
    blocks = [] if low_rank else plan(header, budget_values or BUDGET_VALUES)
    if not blocks and not low_rank:
        packed = opened.model.quantization or how
        why = f"quantized: {packed}: " if packed else ""
        raise NothingComparable(
            f"{why}none of its numbers can be compared" + ("" if packed else " (an unknown format)"),
            "ask for the model it was made from",
        )
    claims = tuple((claim.base, claim.relation, claim.source) for claim in opened.claims_in_weights)
    sample = opened.read(blocks) if blocks else ()
    sketch = make_sketch(str(opened.model.weights_digest), header, sample, WeightFacts("", how, low_rank, claims))
    assert sketch.facts is not None
    declarations = (*opened.declarations, *opened.claims_in_weights, *(opened.of_whole if low_rank else ()))
    return Reading(as_facts_say(opened.model, sketch.facts), declarations, sketch.facts, sketch)


def graph_if_there(url: str, create: bool = False) -> AbstractContextManager[Store | None]:
    """The graph, or None where a folder holds none yet and none is to be made.

    Raises:
        Failure: see `open_store`.
    """
    from lineage.graphdb.store import open_store

    if "://" not in url and not create and not home_path(url).is_file() and not (home_path(url) / "graph").exists():
        return nullcontext(None)
    return open_store(url)


def stored_model(graph: Store | None, name: str) -> Model | None:
    """The graph's model of a name; None if it does not know it, knows another revision, or the path holds other weights now."""
    from lineage.queries.resolve import find

    model = find(graph, name) if graph else None
    return model if model is not None and is_meant(model, name) else None


def is_meant(model: Model, name: str) -> bool:
    """Whether a model of the graph is what its name means: not at another revision, nor a path that holds other weights now."""
    repo_id, _, revision = name.partition("@")
    named = f"{model.repo_id}/".lower().startswith(f"{repo_id}/".lower())  # or a pipeline of which it is the main part
    if revision and named and not _is_commit(revision, model.revision):
        return False
    if not model.hub_id.startswith(LOCAL):
        return True
    path = home_path(name)  # the path itself where it is given: its name in the graph may not be one
    return _digest_now(path if path.exists() else Path(model.path or model.repo_id)) == model.weights_digest


def claims_in(graph: Store, model: Model) -> tuple[Declaration, ...]:
    """What the graph says that a model of it claims; of a pipeline's main part, what the pipeline's card claims."""
    from lineage.graphdb.schema.rows import claims_of
    from lineage.queries import load
    from lineage.queries.pipelines import whole_of

    def of(hub_id: str) -> tuple[Declaration, ...]:
        rows = graph.read(load("answer").text, {"model": hub_id})
        return tuple(c for row in rows for c in claims_of(model.hub_id, row["bases"], row["relations"], row["sources"]))

    whole = whole_of(model.hub_id)
    return of(model.hub_id) or (of(whole) if whole is not None else ())


def same_weights(graph: Store | None, opened: OpenModel) -> Model | None:
    """The graph's model of the same identity, if it holds these very weights: another commit or name of it, then.

    A repository that was deleted and made again has another identity and the same name: with the same weights, it is taken for the
    same model.
    """
    known = (graph.model(opened.model.hub_id) or graph.model(opened.model.repo_id)) if graph else None
    if known is None or known.weights_digest is None or known.weights_digest != opened.model.weights_digest:
        return None
    return known


def look_up(name: str, graph: Store | None, sketches: SketchStore, hub: Hub | Callable[[], Hub]) -> Reading:
    """A model of the graph with its stored sketch, else read now.

    Args:
        hub: makes the Hub, called only if it has to be asked.
    Raises:
        Failure: no such model, nothing in it that can be compared, the Hub does not answer.
    """
    from lineage.crawler.open_model import open_model

    model = stored_model(graph, name)
    kept = from_graph(graph, sketches, model)
    if kept is not None:
        return kept
    if model is not None and "@" not in name:
        name = model.path or model.repo_id  # a former name, an identity, a name in a crawled folder
    return read_now(open_model(name, hub), sketches.budget_values)


def from_graph(graph: Store | None, sketches: SketchStore, model: Model | None) -> Reading | None:
    """A model of the graph with its stored sketch; None where absent."""
    from lineage.detect.sketch_store import BadSketch

    if graph is None or model is None or model.weights_digest is None:
        return None
    try:
        sketch = sketches.get(model.weights_digest)
    except BadSketch:
        logger.info("the sample of %s is not at hand; it is read again", model.repo_id)
        return None
    facts = sketch.facts or WeightFacts(sketch.signature, model.quantization)
    return Reading(model, claims_in(graph, model), facts, sketch, stored=True)


def read_now(opened: OpenModel, budget_values: int | None = None) -> Reading:
    """An opened model that can be compared, or an adapter (`model.status`).

    Raises:
        NothingComparable: no weights, or none that can be compared. Failure: damaged, gated, unreachable.
    """
    model = opened.model
    if opened.weights is None:
        raise NothingComparable(
            f"nothing can be read in {model.repo_id}: {model.reason}", "ask for the model it was made from"
        )
    try:
        return read(opened, budget_values)
    except Failure as failure:
        named = Path(model.path).name if model.path else model.repo_id
        if named not in failure.message:
            failure.message = f"{model.repo_id}: {failure.message}"
        raise


def hub_at(endpoint: str | None) -> Hub:
    """A Hub for one lookup: it does not wait for long."""
    from lineage.crawler.hub import Hub

    return Hub(endpoint)


def _is_commit(revision: str, commit: str | None) -> bool:
    return commit is not None and bool(_COMMIT.fullmatch(revision)) and commit.startswith(revision)


def _digest_now(path: Path) -> str | None:
    from lineage.crawler.folder import one_local_model
    from lineage.crawler.local_digest import local_digest

    try:
        return local_digest(one_local_model(path))
    except NoSuchModel:
        return None
