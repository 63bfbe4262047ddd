"""One model as a person names it -> what it is and, where it can be compared, its sketch: from the graph, the Hub or this disk."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lineage.graphdb.schema import Declaration, Failure, Model, NoSuchModel, Status

if TYPE_CHECKING:
    from lineage.crawler.hub import Hub
    from lineage.crawler.open_model import OpenModel
    from lineage.detect.signature import TensorSpec
    from lineage.detect.sketch import Block
    from lineage.detect.sketch_store import Sketch, SketchStore
    from lineage.detect.subject import Subject
    from lineage.graphdb.store import Store

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class NothingComparable(NoSuchModel):
    """A model without a number that could be compared with another model's."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A model that can be compared.

    Attributes:
        model: with its signature.
        declarations: what it claims.
        stored: whether this is what the graph holds.
    """

    model: Model
    declarations: tuple[Declaration, ...]
    sketch: Sketch
    stored: bool

    def subject(self, declared: Iterable[str] = (), label: str | None = None) -> Subject:
        from lineage.detect.subject import Subject

        model = self.model
        claims = frozenset(declared)
        return Subject(model.hub_id, self.sketch, model.created_at, claims, label or model.repo_id, model.quantised)


def graph_if_there(url: str, create: bool = False) -> AbstractContextManager[Store | None]:
    """The graph, or None where a folder holds none yet and none is to be made."""
    from lineage.graphdb.store import open_store

    if "://" not in url and not create and not (Path(url).expanduser() / "graph").exists():
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
    if revision and model.repo_id.lower() == repo_id.lower() and not _is_commit(revision, model.revision):
        return False
    if not model.hub_id.startswith("local:"):
        return True
    named = Path(name).expanduser()  # the path itself where it is given: its name in the graph may not be one
    return _digest_now(named if named.exists() else Path(model.repo_id)) == model.weights_digest


def claims_in(graph: Store, model: Model) -> tuple[Declaration, ...]:
    """What the graph says that a model of it claims."""
    from lineage.graphdb.records import claims_of
    from lineage.queries import load

    rows = graph.read(load("answer").text, {"model": model.hub_id})
    return tuple(c for row in rows for c in claims_of(model.hub_id, row["bases"], row["relations"], row["sources"]))


def same_weights(graph: Store | None, opened: OpenModel) -> Model | None:
    """The graph's model of the same identity, if it holds these very weights: another commit or name of it, then."""
    known = graph.model(opened.model.hub_id) if graph else None
    if known is None or known.weights_digest is None or known.weights_digest != opened.model.weights_digest:
        return None
    return known


def look_up(name: str, graph: Store | None, sketches: SketchStore, hub: Hub | Callable[[], Hub]) -> Looked:
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
    if model is not None and not model.hub_id.startswith("local:") and "@" not in name:
        name = model.repo_id  # a former name, an identity
    return read_now(open_model(name, hub), sketches)


def from_graph(graph: Store | None, sketches: SketchStore, model: Model | None) -> Looked | None:
    """A model of the graph with its stored sketch; None where there is none."""
    from lineage.detect.sketch_store import BadSketch

    if graph is None or model is None or model.weights_digest is None:
        return None
    try:
        sketch = sketches.get(model.weights_digest)
    except BadSketch:
        logger.info("the sample of %s is not at hand; it is read again", model.repo_id)
        return None
    return Looked(model, claims_in(graph, model), sketch, stored=True)


def read_now(opened: OpenModel, sketches: SketchStore) -> Looked:
    """A sample of an opened model's weights.

    Raises:
        NothingComparable: no weights, or none that can be compared. Failure: damaged, gated, unreachable.
    """
    model = opened.model
    if model.status is Status.ADAPTER:
        raise NothingComparable(
            f"{model.repo_id} is an adapter: it holds no weights of a model, only what it declares speaks",
            "ask for the model it belongs to",
        )
    if opened.weights is None:
        raise NothingComparable(
            f"nothing can be read in {model.repo_id}: {model.reason}", "ask for the model it was made from"
        )
    from lineage.detect.sketch_store import make_sketch

    try:
        blocks = plan_of(opened.header, sketches.budget_values)
        sketch = make_sketch(str(model.weights_digest), opened.header, opened.read(blocks))
    except Failure as failure:
        named = Path(model.repo_id).name if model.hub_id.startswith("local:") else model.repo_id
        if named not in failure.message:
            failure.message = f"{model.repo_id}: {failure.message}"
        raise
    claims = (*opened.declarations, *opened.claims_in_weights)
    return Looked(replace(model, signature=sketch.signature), claims, sketch, stored=False)


def plan_of(header: Sequence[TensorSpec], budget_values: int) -> list[Block]:
    """What to read of a model.

    Raises:
        NothingComparable: there is nothing to be read.
    """
    from lineage.detect.sketch import plan

    if not header:
        raise NothingComparable("there are no tensors in its weight files", "is this the right file?")
    blocks = plan(header, budget_values)
    if not blocks:
        raise NothingComparable(
            "none of its numbers can be compared (quantised or unknown formats)", "ask for the model it was made from"
        )
    return blocks


def hub_at(endpoint: str | None) -> Hub:
    """A Hub for one lookup: it does not wait for long."""
    from lineage.crawler.hub import Hub

    return Hub(endpoint)


def _is_commit(revision: str, commit: str | None) -> bool:
    return commit is not None and bool(_COMMIT.fullmatch(revision)) and commit.startswith(revision)


def _digest_now(path: Path) -> str | None:
    from lineage.crawler.folder import one_local_model
    from lineage.crawler.open_model import local_digest

    return local_digest(one_local_model(path))
