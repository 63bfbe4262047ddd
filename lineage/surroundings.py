"""The models that are known where an adapter is decided about: the graph's, those of a folder, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lineage.crawler.claims_in_files import BY_HASH
from lineage.crawler.selection import weights_digest
from lineage.graphdb.schema import LOCAL, Declaration, Failure, Model, Status
from lineage.graphdb.schema.rows import name_key

if TYPE_CHECKING:
    from lineage.detect.adapter_fit import BaseStructure
    from lineage.detect.sketch_store import SketchStore
    from lineage.graphdb.store import Store
    from lineage.reading import Reading
    from lineage.scanning import FolderReading

STRUCTURES_HELD = 1_024


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that may be a base.

    Attributes:
        adapter: it is an adapter itself; digest: of its weights, None where they were not read.
        claims: what it declares; asked for only of adapters.
    """

    id: str
    label: str
    adapter: bool
    digest: str | None
    claims: Callable[[], Sequence[Declaration]]


@dataclass(frozen=True, slots=True)
class ArchitectureMembers:
    """Models of one architecture. every: all of them, of which `one` is one."""

    one: KnownModel
    count: int
    every: Callable[[], Iterable[KnownModel]]


class Surroundings(Protocol):
    """What is known around an adapter."""

    def named(self, base: str) -> KnownModel | None:
        """The model that a claim means."""
        ...

    def architectures(self) -> Iterator[ArchitectureMembers]:
        """All models but adapters, by architecture; a model of several backbones may come with each of them."""
        ...

    def structure(self, model: KnownModel) -> BaseStructure | None:
        """Modules and shapes of a model; None where nothing of it was read."""
        ...


@dataclass(slots=True)
class GraphSurroundings:
    """The models of the graph. without: identities of models that do not count."""

    graph: Store
    sketches: SketchStore
    without: frozenset[str] = frozenset()
    _held: dict[str, BaseStructure] = field(default_factory=dict)

    def named(self, base: str) -> KnownModel | None:
        """By identity, name, former name or alias; by the hash of its file where the claim says that."""
        if base.startswith(BY_HASH):
            digest = weights_digest([base.removeprefix(BY_HASH)])
            models = [model for model in self.graph.models_of_weights(digest) if model.hub_id not in self.without]
            return self._known(min(models, key=_first_published)) if models else None
        model = self.graph.model(base)
        return None if model is None or model.hub_id in self.without else self._known(model)

    def architectures(self) -> Iterator[ArchitectureMembers]:
        """Every architecture with a model whose sample is at hand."""
        for signature, count in self.graph.signatures():
            one = next(iter(self._of(signature)), None)
            if one is not None:
                yield ArchitectureMembers(one, count, lambda key=signature: self._of(key))  # type: ignore[misc]

    def structure(self, model: KnownModel) -> BaseStructure | None:
        from lineage.detect.adapter_fit import base_structure

        if model.digest is None:
            return None
        held = self._held.get(model.digest)
        if held is None:
            sketch = next(self.sketches.many([model.digest]), None)
            if sketch is None:
                return None
            if len(self._held) >= STRUCTURES_HELD:
                self._held.clear()
            held = self._held[model.digest] = base_structure(sketch.layout, sketch.packed)
        return held

    def _of(self, signature: str) -> Iterator[KnownModel]:
        models = (model for model in self.graph.models(signature) if model.hub_id not in self.without)
        return (self._known(model) for model in models if model.status is Status.SKETCHED)

    def _known(self, model: Model) -> KnownModel:
        from lineage.reading import claims_in

        adapter = model.status is Status.ADAPTER
        return KnownModel(
            model.hub_id, model.repo_id, adapter, model.weights_digest, lambda: claims_in(self.graph, model)
        )


@dataclass(slots=True)
class FolderSurroundings:
    """The models under a folder, by their ids there. without: ids that do not count; labels: what they are called, if not by their ids."""

    found: FolderReading
    without: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    _held: dict[str, BaseStructure] = field(default_factory=dict)

    def named(self, base: str) -> KnownModel | None:
        """By any of its names; by the hash of its file where the claim says that."""
        readings = self.found.everything
        if base.startswith(BY_HASH):
            digest = weights_digest([base.removeprefix(BY_HASH)])
            ids = sorted(name for name, reading in readings.items() if reading.sketch.digest == digest)
            return self._known(ids[0], readings[ids[0]]) if ids else None
        name = self.found.named(name_key(base))
        return None if name is None or name in self.without else self._known(name, readings[name])

    def architectures(self) -> Iterator[ArchitectureMembers]:
        groups: dict[str, list[KnownModel]] = {}
        for name, reading in self.found.readings.items():
            if name not in self.without:
                groups.setdefault(reading.sketch.signature, []).append(self._known(name, reading))
        for models in groups.values():
            yield ArchitectureMembers(models[0], len(models), lambda models=models: models)  # type: ignore[misc]

    def structure(self, model: KnownModel) -> BaseStructure | None:
        from lineage.detect.adapter_fit import base_structure

        if model.id not in self._held:
            sketch = self.found.everything[model.id].sketch
            self._held[model.id] = base_structure(sketch.layout, sketch.packed)
        return self._held[model.id]

    def _known(self, name: str, reading: Reading) -> KnownModel:
        adapter = reading.model.status is Status.ADAPTER
        return KnownModel(
            name, self.labels.get(name, name), adapter, reading.sketch.digest, lambda: reading.declarations
        )


@dataclass(frozen=True, slots=True)
class JoinedSurroundings:
    """Two surroundings; what the first knows counts first."""

    first: Surroundings
    second: Surroundings
    _of_second: dict[str, KnownModel] = field(default_factory=dict)

    def named(self, base: str) -> KnownModel | None:
        found = self.first.named(base)
        return found if found is not None else self._mark(self.second.named(base))

    def architectures(self) -> Iterator[ArchitectureMembers]:
        yield from self.first.architectures()
        for members in self.second.architectures():
            every = list(members.every())
            self._of_second.update({model.id: model for model in every})
            yield ArchitectureMembers(members.one, members.count, lambda every=every: every)  # type: ignore[misc]

    def structure(self, model: KnownModel) -> BaseStructure | None:
        return (self.second if model.id in self._of_second else self.first).structure(model)

    def _mark(self, model: KnownModel | None) -> KnownModel | None:
        if model is not None:
            self._of_second[model.id] = model
        return model


class NoSurroundings:
    """No model is known."""

    def named(self, base: str) -> KnownModel | None:
        return None

    def architectures(self) -> Iterator[ArchitectureMembers]:
        return iter(())

    def structure(self, model: KnownModel) -> BaseStructure | None:
        return None


@dataclass(slots=True)
class PathSurroundings:
    """Models on this machine that an adapter names by their whole path. without: identity of a model that does not count, the adapter."""

    without: str
    _read: dict[str, Reading] = field(default_factory=dict)

    def named(self, base: str) -> KnownModel | None:
        """The model at a path; None for any other name, and where nothing can be read."""
        from lineage.crawler.folder import one_local_model
        from lineage.crawler.open_model import locate_local
        from lineage.reading import read_now

        path = Path(base)
        try:
            if not path.is_absolute() or not path.exists():
                return None
            reading = read_now(locate_local(one_local_model(path)))
        except (Failure, OSError, ValueError):
            return None
        model = reading.model
        if model.hub_id == self.without:
            return None
        self._read[model.hub_id] = reading
        adapter = model.status is Status.ADAPTER
        return KnownModel(model.hub_id, model.repo_id, adapter, reading.sketch.digest, lambda: reading.declarations)

    def architectures(self) -> Iterator[ArchitectureMembers]:
        """None: only what is named is read."""
        return iter(())

    def structure(self, model: KnownModel) -> BaseStructure | None:
        from lineage.detect.adapter_fit import base_structure

        sketch = self._read[model.id].sketch
        return base_structure(sketch.layout, sketch.packed)


def around_adapter(
    graph: Store | None, sketches: SketchStore, folder: Path | None, adapter: Model, by_path: bool = True
) -> Surroundings:
    """The graph's models, those under a folder, and what an adapter on disk names by its path; the adapter itself is none of them.

    Args:
        by_path: False leaves the last out, which the graph does not have, where an answer is to be kept there.
    """
    around: Surroundings = GraphSurroundings(graph, sketches) if graph is not None else NoSurroundings()
    if by_path and adapter.hub_id.startswith(LOCAL):
        around = JoinedSurroundings(around, PathSurroundings(adapter.hub_id))
    if folder is None:
        return around
    from lineage.scanning import read_folder

    found = read_folder(folder)
    own = frozenset(name for name, reading in found.everything.items() if reading.model.hub_id == adapter.hub_id)
    return JoinedSurroundings(around, FolderSurroundings(found, own))


def _first_published(model: Model) -> tuple[bool, str, str]:
    """Of copies, the one that was published first."""
    when = model.weights_date.isoformat() if model.weights_date else ""
    return (not when, when, model.hub_id)
