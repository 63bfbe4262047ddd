"""The base of an adapter among the models around it. Every road to it ends here: a graph, a folder, one model that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineage.crawler.claims_in_files import BY_HASH
from lineage.crawler.repo_names import is_repo_id
from lineage.graphdb.schema import Declaration
from lineage.graphdb.schema.rows import name_key

if TYPE_CHECKING:
    from lineage.detect.adapter_fit import BaseStructure, Fit
    from lineage.detect.adapter_structure import AdapterStructure
    from lineage.detect.adapters import AdapterClaims, FittingModels, PossibleBase
    from lineage.detect.decision import Decision
    from lineage.detect.options import Options
    from lineage.detect.reasons import Reason
    from lineage.detect.sketch_store import Sketch
    from lineage.surroundings import KnownModel, Surroundings

MAX_HOPS = 8  # adapters upon adapters
SOURCES = ("metadata", "adapter_config", "gguf", "card", "tag", "config")  # whose claim counts first


@dataclass(frozen=True, slots=True)
class Adapter:
    """One to decide about. sketch: None where its tensors were not read."""

    id: str
    label: str
    sketch: Sketch | None
    claims: Sequence[Declaration]


@dataclass(frozen=True, slots=True)
class AdapterAnswer:
    """A decision, and the names of the models that it is about, by their ids."""

    decision: Decision
    names: Mapping[str, str]


def decide_about_adapter(adapter: Adapter, around: Surroundings, options: Options) -> AdapterAnswer:
    """The base of one adapter among the models around it."""
    from lineage.detect.adapter_structure import structure_of
    from lineage.detect.adapters import AdapterClaims, FittingModels, decide_adapter

    structure = None if adapter.sketch is None else structure_of(adapter.sketch.layout)
    names: dict[str, str] = {}
    claims = _claims(adapter, structure, around, names) if options.declared else AdapterClaims()
    fitting = FittingModels()
    if structure is not None and not claims.known and not claims.elsewhere and not structure.broken:
        fitting = _fitting(adapter.id, structure, around)
    decision = decide_adapter(adapter.id, structure, claims, fitting, options)
    names |= {base.id: base.label for base in (*(p for claim in claims.known for p in claim.parts), *fitting.some)}
    return AdapterAnswer(decision, names)


def base_under(base: str, adapter: Adapter, around: Surroundings) -> BaseStructure | None:
    """Modules and shapes of a model, of the model under it where it is an adapter itself; None where nothing of it was read."""
    known = around.named(base)
    end = None if known is None else _under(known, adapter, around)[0]
    return None if end is None else around.structure(end)


def _claims(
    adapter: Adapter, structure: AdapterStructure | None, around: Surroundings, names: dict[str, str]
) -> AdapterClaims:
    """
    Args:
        names: gets the names of adapters that lie between.
    """
    from lineage.detect.adapters import NAMES_ITSELF, AdapterClaims, ClaimedBase, nowhere

    sources: dict[str, list[str]] = {}
    for claim in sorted(adapter.claims, key=lambda claim: _rank(claim.source)):
        sources.setdefault(claim.base, []).append(claim.source)
    found: dict[tuple[str, ...], ClaimedBase] = {}
    elsewhere: list[str] = []
    note: Reason | None = None
    for base, where in sources.items():
        if name_key(base) == name_key(adapter.label):
            note = note or NAMES_ITSELF
            continue
        parts, why = _parts(base, adapter, structure, around, names)
        if parts:
            ids = tuple(dict.fromkeys(part.id for part in parts))
            before = found.get(ids)
            label = parts[0].label if len(ids) == 1 else base
            found[ids] = ClaimedBase(label, (*(before.sources if before else ()), *where), tuple(parts))
        elif why is not None:
            note = note or why
        elif base.startswith(BY_HASH) or not is_repo_id(base):
            note = note or nowhere(base, base.startswith(BY_HASH))
        else:
            elsewhere.append(base)
    return AdapterClaims(list(found.values()), elsewhere, note)


def _parts(
    base: str, adapter: Adapter, structure: AdapterStructure | None, around: Surroundings, names: dict[str, str]
) -> tuple[list[PossibleBase], Reason | None]:
    """The model, or the parts of a pipeline, that a claim means; or why it means none."""
    from lineage.detect.adapters import NAMES_ITSELF, PossibleBase

    components = structure.components if structure is not None else ("",)
    known = around.named(base)
    if known is not None and known.id == adapter.id:
        return [], NAMES_ITSELF
    if known is not None:
        end, through, why = _under(known, adapter, around)
        names |= {passed.id: passed.label for passed in through} | {adapter.id: adapter.label}
        if why is not None:
            return [], why
        its = None if end is None else around.structure(end)
        if its is not None:
            passed_ids = tuple(passed.id for passed in through)
            return [PossibleBase(known.id, known.label, its, part, passed_ids) for part in components], None
    parts = list(_pipeline(base, structure, around)) if structure is not None else []
    if parts or known is None:
        return parts, None
    return [PossibleBase(known.id, known.label, None, components[0])], None


def _under(
    known: KnownModel, adapter: Adapter, around: Surroundings
) -> tuple[KnownModel | None, tuple[KnownModel, ...], Reason | None]:
    """(the model under a base that may be an adapter itself, None where that is not known; adapters on the way; why there is none)."""
    from lineage.detect.adapters import in_circle, too_deep

    through: list[KnownModel] = []
    while known.adapter:
        if known.id == adapter.id or any(known.id == passed.id for passed in through):
            circle = tuple(dict.fromkeys((*(passed.id for passed in through), known.id)))
            return None, tuple(through), in_circle(circle)
        through.append(known)
        if len(through) > MAX_HOPS:
            return None, tuple(through), too_deep(MAX_HOPS)
        claims = sorted(known.claims(), key=lambda claim: _rank(claim.source))
        below = (around.named(claim.base) for claim in claims if name_key(claim.base) != name_key(known.label))
        following = next((model for model in below if model is not None), None)
        if following is None:
            return None, tuple(through), None
        known = following
    return known, tuple(through), None


def _pipeline(base: str, structure: AdapterStructure, around: Surroundings) -> Iterator[PossibleBase]:
    """The parts of a pipeline `base` that an adapter is about, where they are known."""
    from lineage.detect.adapter_fit import fit
    from lineage.detect.adapter_structure import COMPONENTS
    from lineage.detect.adapters import PossibleBase

    for component in structure.components:
        names = (component,) if component else COMPONENTS
        for name in names:
            part = around.named(f"{base}/{name}")
            if part is None or part.adapter:
                continue
            its = around.structure(part)
            if component or its is None or fit(structure, its).named:
                yield PossibleBase(part.id, part.label, its, component)
                break


def _fitting(own: str, structure: AdapterStructure, around: Surroundings) -> FittingModels:
    """Known models that an adapter fits, at most MAX_POSSIBLE of them, and how many there are."""
    from lineage.detect.adapter_fit import fit
    from lineage.detect.adapters import MAX_POSSIBLE, FittingModels, PossibleBase

    found: dict[str, PossibleBase] = {}
    count = 0
    for alike in around.architectures():
        component = _component_of(structure, around.structure(alike.one))
        if component is None:
            continue
        if count + alike.count > MAX_POSSIBLE:
            count += alike.count
            continue
        for model in alike.every():
            its = None if model.id in found or model.id == own else around.structure(model)
            if its is not None and _surely(fit(structure, its, component)):
                found[model.id] = PossibleBase(model.id, model.label, its, component)
                count += 1
    return FittingModels(list(found.values()) if count <= MAX_POSSIBLE else (), count)


def _component_of(structure: AdapterStructure, base: BaseStructure | None) -> str | None:
    """The part of the adapter that fits a model; None where none does."""
    from lineage.detect.adapter_fit import fit

    if base is None:
        return None
    return next((c for c in structure.components if _surely(fit(structure, base, c))), None)


def _surely(found: Fit) -> bool:
    """Whether an adapter fits so well that the model is possible without any claim."""
    return found.complete and not found.renamed


def _rank(source: str) -> int:
    return SOURCES.index(source) if source in SOURCES else len(SOURCES)
