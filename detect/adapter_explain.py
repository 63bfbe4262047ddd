"""The evidence for and against one model being the base of one adapter: what `lineage explain` shows of adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.detect.adapter_fit import Fit
from lineage.detect.adapter_structure import AdapterStructure
from lineage.detect.decision import Decision
from lineage.detect.report import verdict_as_json
from lineage.graphdb.schema import Relation, chance, printable

UNKNOWN_SHOWN = 5


@dataclass(frozen=True, slots=True)
class AdapterExplanation:
    """
    Attributes:
        child, parent: ids; names: id -> what people call it, of every model that is mentioned.
        structure: of the adapter; fits: how it fits the parent, or the model under it where that is an adapter itself; None where
            nothing of the parent was read.
        decision: about the adapter, with all models at hand.
    """

    child: str
    parent: str
    structure: AdapterStructure
    fits: Fit | None
    decision: Decision
    names: Mapping[str, str]

    @property
    def probability(self) -> float:
        """That this model is the base of this adapter."""
        return next((c.probability for c in self.decision.candidates if c.parent == self.parent), 0.0)

    @property
    def tells(self) -> bool:
        """Whether it is known if this model is the base of this adapter."""
        return self.decision.parent is not None or (self.fits is not None and bool(self.fits.misfit))


def as_json(found: AdapterExplanation, declared: Sequence[str]) -> dict[str, Any]:
    """What `lineage explain --json` prints of an adapter; keys are only ever added."""
    fits = found.fits
    return {
        **verdict_as_json(found.decision, found.child, found.parent, found.probability, found.names),
        "adapter": {
            "method": found.structure.method,
            "ranks": list(found.structure.ranks),
            "targets": list(found.structure.targets),
            "modules": len(found.structure.modules),
        },
        "fit": None
        if fits is None
        else {
            "modules": fits.modules,
            "fitting": fits.fitting,
            "contradiction": fits.misfit,
            "not_found": list(fits.unknown[:UNKNOWN_SHOWN]),
            "vocabulary_rows": list(fits.vocabulary) if fits.vocabulary else None,
        },
        "declared": list(declared),
    }


def as_text(found: AdapterExplanation, declared: Sequence[str]) -> str:
    """The verdict, what the adapter changes, and how that fits."""
    names, fits = found.names, found.fits
    rows = [("adapter", found.structure.summary())]
    if fits is None:
        rows.append(("fits", "nothing of the model was read"))
    else:
        rows.append(("fits", f"{fits.fitting} of {fits.modules} parts"))
        rows += [("but", fits.misfit)] if fits.misfit else []
        rows += [("not found", ", ".join(fits.unknown[:UNKNOWN_SHOWN]))] if fits.unknown else []
        rows += (
            [("vocabulary", f"{fits.vocabulary[0]:,} rows, there {fits.vocabulary[1]:,}")] if fits.vocabulary else []
        )
    rows.append(("card says", ", ".join(declared) or "nothing"))
    lines = [verdict_sentence(found), "", *(f"  {name:<10} {text}" for name, text in rows)]
    others = [c for c in found.decision.candidates if c.parent != found.parent]
    if others:
        lines += ["", "  other candidates"]
        lines += [f"    {names[c.parent]}  {chance(c.probability)}" for c in others[:UNKNOWN_SHOWN]]
    return "\n".join(map(printable, lines))


def verdict_sentence(found: AdapterExplanation) -> str:
    """What was decided about the adapter, as far as it concerns this model."""
    decision, names = found.decision, found.names
    child, parent = names[found.child], names[found.parent]
    if found.parent in dict(decision.parents):
        how = Relation.ADAPTER_OF.phrase
        return f"{child} {how} {parent} (probability {chance(decision.probability)}): {decision.reason.text(names.get)}"
    if decision.parent is not None:
        other = f"{names[decision.parent]} (probability {chance(decision.probability)})"
        return (
            f"{parent} is not the base: {child} {Relation.ADAPTER_OF.phrase} {other}: {decision.reason.text(names.get)}"
        )
    if found.fits is not None and found.fits.misfit:
        return f"{parent} cannot be the base of {child}: {found.fits.misfit}"
    this = f"that it is {parent} has probability {chance(found.probability)}"
    return f"cannot tell the base of {child}; {this}: {decision.reason.text(names.get)}"
