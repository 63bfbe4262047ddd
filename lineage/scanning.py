"""Every model under a folder, read and decided about without a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.deciding import settle_packed
from lineage.detect.methods.registry import PLAIN
from lineage.graphdb.schema import Failure, Status, share_key
from lineage.graphdb.schema.rows import name_key
from lineage.reading import Reading, read

if TYPE_CHECKING:
    from lineage.detect.decision import Decision
    from lineage.detect.methods.registry import MethodInputs
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options
    from lineage.detect.report import Scan
    from lineage.detect.sketch_store import Sketch


@dataclass(frozen=True, slots=True)
class FolderReading:
    """Every model under a folder.

    Attributes:
        readings: those that can be compared by value, by their id: the path under the folder, without `.safetensors`.
        unreadable: id -> reason, for what is neither such a model nor an adapter.
        adapters: those whose tensors were read, by their id.
    """

    readings: Mapping[str, Reading]
    unreadable: Mapping[str, str]
    adapters: Mapping[str, Reading] = field(default_factory=dict)

    @property
    def everything(self) -> Mapping[str, Reading]:
        """Models and adapters."""
        return {**self.readings, **self.adapters}

    def named(self, key: str) -> str | None:
        """Id of the model or adapter that a name means.

        Args:
            key: see `name_key`.
        """
        return self._names().get(key)

    def subjects(self) -> dict[str, Subject]:
        """By id, with the models that their cards name: the ids of those under the folder, and the names of others."""
        meant = self._meant()
        return {
            name: reading.subject(_claimed(reading, meant) - {name}, name, id=name)
            for name, reading in self.readings.items()
        }

    def by_identity(self) -> dict[str, Subject]:
        """The same, by the names here, under the identities that these models have in a graph."""
        return {
            name: replace(s, id=self.readings[name].model.hub_id, declared=self._identities(s.declared))
            for name, s in self.subjects().items()
        }

    def claimed_identities(self, reading: Reading) -> frozenset[str]:
        """What a model claims as its base, as `by_identity` calls it."""
        return self._identities(_claimed(reading, self._meant()))

    def _identities(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset(self.readings[name].model.hub_id if name in self.readings else name for name in names)

    def _names(self) -> dict[str, str]:
        """What each model may be called in a card -> its id; names that several models go by mean none of them."""
        return {called: next(iter(names)) for called, names in self._called().items() if len(names) == 1}

    def _meant(self) -> dict[str, str | None]:
        """What a model may be called in a card -> the model that is meant; None where several are, or an adapter."""
        return {
            called: next(iter(names)) if len(names) == 1 and names <= self.readings.keys() else None
            for called, names in self._called().items()
        }

    def _called(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, reading in self.everything.items():
            model = reading.model
            for called in {name, model.repo_id, *model.aliases, *([model.path] if model.path else [])}:
                found.setdefault(name_key(called), set()).add(name)
        return found


def _claimed(reading: Reading, meant: Mapping[str, str | None]) -> frozenset[str]:
    """Ids of known models, and names of unknown ones; a path means nothing elsewhere."""
    keys = {name_key(claim.base) for claim in reading.declarations}
    names = {meant.get(key, None if _is_path(key) else key) for key in keys}
    return frozenset(name for name in names if name is not None)


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def scan_folder(
    folder: Path,
    options: Options,
    device: str | None = None,
    track: Callable[[Iterable[Any]], Iterable[Any]] = lambda models: models,
    given: MethodInputs | None = None,
) -> Scan:
    """Reads and decides about every model under a folder.

    Args:
        track: wraps the models to be read, to show progress.
        given: what a method that looks beyond weights works with.
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
        CannotTake: all models are of one architecture, and the method cannot work on them.
    """
    return scan_with_samples(folder, options, device, track, given)[0]


def scan_with_samples(
    folder: Path,
    options: Options,
    device: str | None = None,
    track: Callable[[Iterable[Any]], Iterable[Any]] = lambda models: models,
    given: MethodInputs | None = None,
) -> tuple[Scan, dict[str, Sketch]]:
    """The same, with the samples of the models by their ids, for what is shown beside the decisions."""
    from lineage.detect.report import Scan, ScannedModel

    found = read_folder(folder, track)
    scanned = [
        ScannedModel(name, reading.sketch.signature, reading.sketch.digest)
        for name, reading in found.everything.items()
    ]
    samples = {name: reading.sketch for name, reading in found.readings.items()}
    return Scan(scanned, decide_about(found, options, device, given), found.unreadable), samples


def decide_about(
    found: FolderReading, options: Options, device: str | None = None, given: MethodInputs | None = None
) -> list[Decision]:
    """Decisions about all models that were read, those of one architecture together.

    Raises:
        CannotTake: all models are of one architecture, and the method cannot work on them.
    """
    from lineage.detect.computing import computing
    from lineage.detect.group_decisions import decide_groups
    from lineage.detect.groups import groups_of
    from lineage.detect.methods.registry import decide_with
    from lineage.detect.methods.to_decisions import decide_or_say

    subjects = list(found.subjects().values())
    decide = decide_with if len(groups_of(subjects)) == 1 else decide_or_say
    threshold = options.threshold if options.method == PLAIN else None
    with computing([subject.sketch for subject in subjects], options, device) as on:
        decisions = decide_groups(subjects, lambda some: decide(options.method, some, options, on, given), threshold)
    if options.method == PLAIN:
        decisions = [_settled(decision, found, options) for decision in decisions]
        decisions += adapter_decisions(found, options)
    return decisions


def adapter_decisions(found: FolderReading, options: Options) -> list[Decision]:
    """Decisions about the adapters that were read, among everything that was."""
    from lineage.adapters import Adapter, decide_about_adapter
    from lineage.surroundings import FolderSurroundings

    around = FolderSurroundings(found)
    return [
        decide_about_adapter(Adapter(name, name, reading.sketch, reading.declarations), around, options).decision
        for name, reading in found.adapters.items()
    ]


def _settled(decision: Decision, found: FolderReading, options: Options) -> Decision:
    """What a packed copy claims, where nothing else is known of it; see detect/packed_claims.py."""
    from lineage.detect.packed_claims import ClaimedOriginal

    copy = found.readings[decision.model]
    if not copy.model.quantized:
        return decision
    names = found._names()
    claimed: dict[str, list[str]] = {}
    for claim in copy.declarations if options.declared else ():
        name = names.get(name_key(claim.base))
        if name is None or name == decision.model or name not in found.readings:
            continue
        base = found.readings[name]
        if not base.model.quantized and not share_key(base.sketch.signature, copy.sketch.signature):
            claimed.setdefault(name, []).append(claim.source)
    originals = [
        ClaimedOriginal(name, name, tuple(said), found.readings[name].sketch) for name, said in claimed.items()
    ]
    return settle_packed(decision, copy.sketch, lambda: originals)


def read_folder(folder: Path, track: Callable[[Sequence[Any]], Iterable[Any]] = lambda models: models) -> FolderReading:
    """Every model under a folder.

    Raises:
        NoSuchModel: there is no such folder, or no model in it.
    """
    from lineage.crawler.folder import local_models
    from lineage.crawler.open_model import locate_local
    from lineage.crawler.passed_over import no_model_under

    readings: dict[str, Reading] = {}
    adapters: dict[str, Reading] = {}
    unreadable: dict[str, str] = {}
    for model in track(list(local_models(folder))):
        if not model.files:
            unreadable[model.id] = model.reason or "no weight files"
            continue
        try:
            found = read(locate_local(model))
        except Failure as failure:
            unreadable[model.id] = failure.message
            continue
        (adapters if found.model.status is Status.ADAPTER else readings)[model.id] = found
    if not readings and not adapters and not unreadable:
        raise no_model_under(folder)
    return FolderReading(readings, unreadable, adapters)
