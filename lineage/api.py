"""The functions of `import lineage`: models in memory, on disk or on the Hub in, answers out. See docs/python.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lineage.answer import Answer
from lineage.family import Family
from lineage.graphdb.schema import Status
from lineage.reading import NothingComparable, Reading, hub_at, read_now

if TYPE_CHECKING:
    from lineage.crawler.open_model import OpenModel
    from lineage.detect.adapter_explain import AdapterExplanation
    from lineage.detect.explain import Explanation
    from lineage.detect.options import Options
    from lineage.graphdb.store import Store

Given = Mapping[str, Any] | str | Path  # tensors by name, a file or folder, or the name of a repository


def detect(
    models: Mapping[str, Given] | Iterable[str | Path],
    *,
    declared: bool = True,
    dates: bool = True,
    detector: bool = True,
    threshold: float | None = None,
    method: str = "lineage",
    settings: Mapping[str, str] | None = None,
    device: str | None = None,
    endpoint: str | None = None,
) -> Family:
    """Which of some models was trained from which.

    Args:
        models: name -> tensors by name (numpy or torch), a path, or a repository's name on the Hub; or paths and names alone.
        declared, dates, detector: kinds of evidence that count: what cards claim, publication dates, the trained detector.
        threshold: minimum probability of a parent; by default that of the command line.
        method, settings: another detection method and its options, as `lineage methods` lists them.
        device: where to compute, as torch names it; endpoint: of the Hub.
    Raises:
        Failure: a model does not exist, cannot be read or cannot be compared.
    """
    from lineage.scanning import FolderReading

    some = [models] if isinstance(models, (str, Path)) else models
    named = some if isinstance(some, Mapping) else {str(name): name for name in some}
    strangers = [name for name in named if not isinstance(name, str)]
    if strangers:
        raise TypeError(f"the name of a model is a text, not {strangers[0]!r}")
    everything = {name: _read(name, given, endpoint) for name, given in named.items()}
    adapters = {name: found for name, found in everything.items() if found.model.status is Status.ADAPTER}
    readings = {name: found for name, found in everything.items() if name not in adapters}
    options = _options(declared, dates, detector, threshold, method, settings)
    return _family(FolderReading(readings, {}, adapters), options, device)


def scan(
    folder: str | Path,
    *,
    declared: bool = True,
    dates: bool = True,
    detector: bool = True,
    threshold: float | None = None,
    method: str = "lineage",
    settings: Mapping[str, str] | None = None,
    device: str | None = None,
) -> Family:
    """Every model under a folder, as `lineage scan`; models are named by their paths under it.

    Args: see `detect`.
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
    """
    from lineage.scanning import read_folder

    options = _options(declared, dates, detector, threshold, method, settings)
    return _family(read_folder(Path(folder).expanduser()), options, device)


def explain(
    child: Given,
    parent: Given,
    *,
    store: str | None = None,
    sketches: str | None = None,
    device: str | None = None,
    endpoint: str | None = None,
) -> Explanation | AdapterExplanation:
    """The evidence for and against one model being the one that another was trained from, over all and layer by layer.

    Args:
        child, parent: tensors by name, a path, or a repository's name.
        store: a graph whose models are weighed as well; None weighs the two alone.
    Raises:
        CannotCompare: they have nothing that could be compared. Failure: as `detect`.
    """
    from lineage.detect.sketch_store import SketchStore
    from lineage.explaining import explain_pair
    from lineage.locations import sketches_folder
    from lineage.reading import graph_if_there, look_up

    samples = SketchStore(sketches_folder(store or "~/.lineage", sketches))
    with graph_if_there(store) if store else _no_graph() as graph:
        pair = []
        for what, given in (("child", child), ("parent", parent)):
            if isinstance(given, Mapping):
                pair.append((_read(what, given, endpoint), what))
            else:
                pair.append((look_up(str(given), graph, samples, lambda: hub_at(endpoint)), str(given)))
        return explain_pair(pair[0], pair[1], graph, samples, _options(), device)


def open_graph(store: str = "~/.lineage", sketches: str | None = None) -> Graph:
    """A graph that `lineage sync` filled, to be asked. A context manager.

    Args:
        store: its folder, or the address of a Neo4j; sketches: where samples lie, if not with the store.
    Raises:
        Failure: it does not exist or cannot be reached.
    """
    from lineage.graphdb.store import open_store

    return Graph(open_store(store, create=False), store, sketches)


class Graph:
    """An open graph. Close it, or use it in a `with` statement."""

    def __init__(self, store: Store, url: str, sketches: str | None):
        self._store, self._url, self._sketches = store, url, sketches

    def who_is_parent(self, model: str | Path, *, endpoint: str | None = None) -> Answer:
        """The parent of a model: from the graph, or worked out now for one that it does not hold.

        Raises:
            Failure: there is no such model, or nothing in it can be compared.
        """
        from lineage.answering import Question, answer_now, answer_stored
        from lineage.locations import sketches_folder

        evidence: dict[str, Any] = {
            "no_dates": False,
            "no_declared": False,
            "no_detector": False,
            "method": "lineage",
            "threshold": None,
            "method_option": (),
        }
        question = Question(str(model), sketches_folder(self._url, self._sketches), endpoint, evidence, False)
        found = answer_stored(question, self._store) or answer_now(question, self._store)
        if found.failure is not None:
            raise found.failure
        return found.answer

    def ancestors(self, model: str) -> list[str]:
        """Names of the models that one comes from, nearest first."""
        from lineage.queries.resolve import resolve
        from lineage.queries.walk import ancestors

        return [found.repo_id for found in ancestors(self._store, resolve(self._store, model).hub_id)]

    def descendants(self, model: str) -> list[str]:
        """Names of the models that come from one, nearest first."""
        from lineage.queries.resolve import resolve
        from lineage.queries.walk import descendants

        return [found.repo_id for found in descendants(self._store, resolve(self._store, model).hub_id)]

    def cypher(self, query: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a question in Cypher that only reads.

        Raises:
            WriteRefused, CypherError: see there.
        """
        return self._store.read(query, params)

    def close(self) -> None:
        """Gives files or connections back."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(name: str, given: Given, endpoint: str | None) -> Reading:
    from lineage.crawler.open_model import open_model

    if isinstance(given, Mapping):
        from lineage.tensors import open_tensors

        opened: OpenModel = open_tensors(name, given)
    else:
        opened = open_model(str(given), lambda: hub_at(endpoint))
    return read_now(opened)


def _family(found: Any, options: Options, device: str | None) -> Family:
    """Answers about everything that was read together."""
    from lineage.answer import from_decision
    from lineage.detect.method_version import method_version
    from lineage.scanning import decide_about

    everything = found.everything
    if not everything:
        raise NothingComparable("there is no model to compare", "give at least one that can be read")
    names = {name: name for name in everything}
    version = method_version(options.method, options.settings)
    answers = {
        decision.model: from_decision(
            decision,
            everything[decision.model].model,
            names,
            method=options.method,
            method_version=version,
            declared=everything[decision.model].declarations,
        )
        for decision in decide_about(found, options, device)
    }
    return Family({name: answers[name] for name in everything if name in answers}, found.unreadable)


def _options(
    declared: bool = True,
    dates: bool = True,
    detector: bool = True,
    threshold: float | None = None,
    method: str = "lineage",
    settings: Mapping[str, str] | None = None,
) -> Options:
    from lineage.evidence import options_of

    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ValueError(f"a threshold is a probability between 0 and 1, not {threshold}")
    given = [f"{name}={value}" for name, value in (settings or {}).items()]
    return options_of(not dates, not declared, not detector, method, threshold, given)


def _no_graph() -> Any:
    from contextlib import nullcontext

    return nullcontext(None)
