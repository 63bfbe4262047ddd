"""The base of an adapter: what it claims, checked by whether the adapter fits there.

The values of an adapter say nothing of its base, but its shapes do: a base that does not have the adapted modules is none. Several
models of one family fit alike, so it takes a claim to name the base, and a claim alone is none: the named model must fit. A named
model that does not fit is a contradiction, and gets no edge. Without a claim, or with one that names a folder of another machine, the
models that fit are possible bases, where they are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lineage.detect.adapter_fit import BaseStructure, Fit, fit, with_modules_of
from lineage.detect.adapter_structure import AdapterStructure
from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.options import Options
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import CONTRADICTED_ADAPTER, Relation

WRITTEN_BY_PROGRAMS = (
    "metadata",
    "adapter_config",
    "gguf",
)  # sources that name what was loaded, before what people wrote
PROGRAM_FITS, PERSON_FITS = 0.99, 0.97  # a claim by either, and every module fits
PROMPT_FITS = 0.93  # a prompt fits every model of one width
NAMED_FITS = 0.93  # modules of these names exist, and the method works on weights of any size
RENAMED_FITS = 0.9  # the sizes fit in every block, under other names
ALSO_CLAIMED = 0.05  # another claimed base that fits
UNSEEN = 0.5  # a claimed base of which no tensor is known
INCOMPLETE = 0.5  # a claimed base without some of the modules, and without a contradiction
ALONE, TOGETHER = 0.6, 0.9  # of the only model that fits, and of all of several, where nothing names one
MAX_POSSIBLE = 16  # more models that fit are no candidates
NO_CLAIM, NAMES_ITSELF = Reason("adapter_no_claim"), Reason("adapter_itself")


@dataclass(frozen=True, slots=True)
class PossibleBase:
    """A model that may be the base, or a part of a pipeline that is one.

    Attributes:
        component: the part of a pipeline that it is, as the adapter calls it; empty for the whole.
        structure: of the model; of the model under it where it is an adapter itself; None where nothing of it was read.
        through: ids of the adapters between it and that model, itself first.
    """

    id: str
    label: str
    structure: BaseStructure | None
    component: str = ""
    through: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimedBase:
    """A base that an adapter names. parts: one model, or those of the pipeline; sources: where it is named, see Declaration."""

    label: str
    sources: tuple[str, ...]
    parts: tuple[PossibleBase, ...]

    @property
    def by_program(self) -> bool:
        return not set(WRITTEN_BY_PROGRAMS).isdisjoint(self.sources)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of its parts, each once."""
        return tuple(dict.fromkeys(part.id for part in self.parts))


@dataclass(frozen=True, slots=True)
class AdapterClaims:
    """What an adapter claims, as far as it is known where it is decided about.

    Attributes:
        known: claimed bases that are known; elsewhere: names of those that are not, paths aside.
        note: a clause about a claim that leads nowhere, such as a path.
    """

    known: Sequence[ClaimedBase] = ()
    elsewhere: Sequence[str] = ()
    note: Reason | None = None


@dataclass(frozen=True, slots=True)
class FittingModels:
    """Known models that an adapter fits; count: how many, also where they are too many to name."""

    some: Sequence[PossibleBase] = field(default_factory=tuple)
    count: int = 0


def in_circle(adapters: tuple[str, ...]) -> Reason:
    """Why a claim leads nowhere: adapters (ids) that name each other."""
    return Reason("adapter_circle", models={"adapters": adapters})


def too_deep(hops: int) -> Reason:
    """Why a claim is not followed: more adapters than `hops` lie upon one another."""
    return Reason("adapter_too_deep", {"hops": hops})


def nowhere(text: str, by_hash: bool) -> Reason:
    """Why a claim leads nowhere: a path of another machine, or the hash of an unknown file."""
    return Reason("adapter_hash", {"path": text}) if by_hash else Reason("adapter_path", {"path": text})


def decide_adapter(
    model: str, adapter: AdapterStructure | None, claims: AdapterClaims, fitting: FittingModels, options: Options
) -> Decision:
    """
    Args:
        adapter: None where its tensors were not read.
        fitting: looked for only where no claim names a base.
    """
    if adapter is not None and adapter.broken:
        return _undecided(model, adapter, Reason("adapter_damaged", {"problem": adapter.broken}))
    ordered = sorted(claims.known, key=lambda claim: (not claim.by_program, claim.label))
    tried = [(claim, None if adapter is None else _fit_of(adapter, claim)) for claim in ordered]
    fits = [(claim, found) for claim, found in tried if found is not None and found.complete]
    if fits and adapter is not None:
        return _found(model, adapter, *fits[0], [claim for claim, _ in fits[1:]], options)
    unsettled = [(claim, found) for claim, found in tried if found is None or found.misfit is None]
    if unsettled:
        return _unsettled(model, adapter, unsettled)
    if tried and not claims.elsewhere:
        claim, found = tried[0]
        reason = Reason(CONTRADICTED_ADAPTER, {"misfit": found.misfit if found else ""}, {"base": claim.ids})
        evidence = _evidence(adapter, found) | {"claimed_in": list(claim.sources)}
        return Decision(model, AnswerKind.NO_RELATIVES, 0.0, evidence=evidence, reason=reason)
    if claims.elsewhere:
        return _undecided(
            model, adapter, _lead(adapter).and_then(Reason("adapter_elsewhere", {"name": claims.elsewhere[0]}))
        )
    if adapter is None:
        return _undecided(model, adapter, _lead(adapter).and_then(claims.note or NO_CLAIM))
    return _unclaimed(model, adapter, fitting, claims.note or NO_CLAIM)


def _found(
    model: str,
    adapter: AdapterStructure,
    claim: ClaimedBase,
    found: Fit,
    others: Sequence[ClaimedBase],
    options: Options,
) -> Decision:
    sure = PROMPT_FITS if adapter.prompt is not None else PROGRAM_FITS if claim.by_program else PERSON_FITS
    sure = min(sure, RENAMED_FITS) if found.renamed else sure
    structure = next((part.structure for part in claim.parts if part.structure is not None), None)
    adapter = adapter if structure is None else with_modules_of(adapter, structure)
    named_alone = bool(adapter.modules) and all(not module.sized for module in adapter.modules)
    sure = min(sure, NAMED_FITS) if named_alone else sure
    evidence = _evidence(adapter, found) | {"claimed_in": list(claim.sources)}
    count, named = {"count": found.modules}, {"base": claim.ids}
    fits = Reason("adapter_by_claim", count, named) if named_alone else Reason("adapter_fits", count, named)
    reason = _lead(adapter).and_then(fits)
    if found.renamed:
        reason = reason.and_then(Reason("adapter_renamed"))
    through = next((part.through for part in claim.parts if part.through), ())
    if through:
        reason = reason.and_then(Reason("adapter_through", models={"adapters": through}))
    if found.vocabulary:
        rows, rows_of_base = found.vocabulary
        reason = reason.and_then(Reason("adapter_vocabulary", {"rows": rows, "rows_of_base": rows_of_base}))
    also = dict.fromkeys(base for other in others for base in other.ids if base not in claim.ids)
    candidates = (
        *(Candidate(base, sure) for base in claim.ids),
        *(Candidate(base, max(1 - sure, ALSO_CLAIMED)) for base in also),
    )
    if sure < options.threshold:
        return Decision(model, AnswerKind.UNDECIDED, sure, candidates=candidates, evidence=evidence, reason=reason)
    return Decision(
        model,
        AnswerKind.PARENT,
        sure,
        claim.ids[0],
        Relation.ADAPTER_OF,
        candidates,
        ("declared",) if named_alone else ("declared", "structure"),
        evidence,
        reason,
        bases=claim.ids,
    )


def _fit_of(adapter: AdapterStructure, claim: ClaimedBase) -> Fit | None:
    """How the adapter fits a claimed base in all of its parts; None where nothing of one was read."""
    found: Fit | None = None
    for part in claim.parts:
        if part.structure is None:
            return None
        one = fit(adapter, part.structure, part.component)
        found = one if found is None else found + one
    lacking = [c for c in adapter.components if c not in {part.component for part in claim.parts}]
    if found is not None and lacking:
        missing = [module.name for module in adapter.modules if module.component in lacking]
        found = found + Fit(len(missing), 0, 0, None, tuple(missing))
    return found


def _unsettled(
    model: str, adapter: AdapterStructure | None, claims: Sequence[tuple[ClaimedBase, Fit | None]]
) -> Decision:
    """Claims that are neither confirmed nor contradicted: possible bases."""
    claim, found = claims[0]
    chance = (UNSEEN if found is None else INCOMPLETE) / len(claims)
    named = {"base": claim.ids}
    if adapter is None:
        why = Reason("adapter_unchecked", models=named)
    elif found is None:
        why = Reason("adapter_base_unread", models=named)
    else:
        lacking = {"lacking": found.modules - found.fitting, "of": found.modules, "module": (*found.unknown, "")[0]}
        why = Reason("adapter_incomplete", lacking, named)
    candidates = tuple(Candidate(base, chance) for base in dict.fromkeys(b for one, _ in claims for b in one.ids))
    evidence = _evidence(adapter, found) | {"claimed_in": list(claim.sources)}
    reason = _lead(adapter).and_then(why)
    return Decision(model, AnswerKind.UNDECIDED, chance, candidates=candidates, evidence=evidence, reason=reason)


def _unclaimed(model: str, adapter: AdapterStructure, fitting: FittingModels, note: Reason) -> Decision:
    """Nothing names a base that is known: the models that fit."""
    evidence = _evidence(adapter, None) | {"fitting_models": fitting.count}
    lead = _lead(adapter).and_then(note)
    if not fitting.count:
        reason = lead.and_then(Reason("adapter_fits_none"))
        return Decision(model, AnswerKind.NO_RELATIVES, 0.0, evidence=evidence, reason=reason)
    if fitting.count == 1 and fitting.some:
        fits = Reason("adapter_fits_one", models={"parent": fitting.some[0].id})
    else:
        fits = Reason("adapter_fits_several", {"models": fitting.count})
    chance = min(ALONE, TOGETHER / fitting.count) if fitting.some else 0.0
    candidates = tuple(Candidate(base.id, chance) for base in fitting.some)
    reason = lead.and_then(fits)
    return Decision(model, AnswerKind.UNDECIDED, chance, candidates=candidates, evidence=evidence, reason=reason)


def _undecided(model: str, adapter: AdapterStructure | None, reason: Reason) -> Decision:
    return Decision(model, AnswerKind.UNDECIDED, 0.0, evidence=_evidence(adapter, None), reason=reason)


def _lead(adapter: AdapterStructure | None) -> Reason:
    return Reason("adapter_unread") if adapter is None else Reason("adapter", {"adapter": adapter.summary()})


def _evidence(adapter: AdapterStructure | None, found: Fit | None) -> dict[str, Any]:
    if adapter is None:
        return {}
    evidence: dict[str, Any] = {"method": adapter.method, "modules": len(adapter.modules)}
    if adapter.ranks:
        evidence["rank"] = list(adapter.ranks)
    if adapter.targets:
        evidence["targets"] = list(adapter.targets[:12])
    if found is not None:
        evidence["fitting_modules"] = found.fitting
        if found.misfit:
            evidence["misfit"] = found.misfit
        if found.vocabulary:
            evidence["vocabulary_rows"] = list(found.vocabulary)
    return evidence
