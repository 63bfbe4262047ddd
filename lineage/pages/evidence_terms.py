"""The numbers in an edge's evidence, each with a name, a range and a meaning for people.

Detection may add numbers at any time: what is not listed here is shown under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineage.detect.signals.interface import Kind
from lineage.detect.signals.registry import of_kind
from lineage.pages.words import number, visible

MOST_IN_A_LIST = 16  # numbers or words; longer ones are left to the JSON
STRONGEST = 6.0  # log-odds at which a bar ends; beyond it the number still tells


@dataclass(frozen=True, slots=True)
class Term:
    """One number of the evidence, ready to be shown.

    Attributes:
        bar: -1 (against the direction) to 1 (for it), where the number is for or against something; else None.
    """

    name: str
    label: str
    value: str
    meaning: str
    bar: float | None = None


_LABELS: dict[str, tuple[str, str]] = {
    "direction_log_odds": (
        "direction, without training",
        "log-odds that the parent came first: growth, decay and balance",
    ),
    "detector_log_odds": (
        "trained detector",
        "log-odds that the parent came first; the detector sees neither names nor dates",
    ),
    **{
        f"{signal.name}_log_odds": (signal.name, f"log-odds that the parent came first: {signal.phrase}")
        for signal in of_kind(Kind.CERTAIN)
    },
    "growth_z": ("growth, z", "how many standard errors the growth lies above zero; above 3 the parent came first"),
    "growth_gamma": ("growth, γ", "share of the movement that is growth: 1 all of it, 0 two siblings moved alike"),
    "inheritance_slope": (
        "inheritance",
        "share of what the parent had learned that is still in the child; 1 is all of it",
    ),
    "related": ("related", "1 for copies, 0 for models trained apart"),
    "relative_distance": ("distance", "length of the difference over the length of the parent's weights"),
    "same_run": ("one training run", "probability that both are checkpoints of one training run"),
    "unseen_parent": ("unseen parent", "probability that the true parent is a model that is not known here"),
    "family_size": ("family", "related models that were compared"),
    "format": ("packing", "how the copy's values are packed"),
    "bits": ("bits", "of one packed value"),
    "equal_values": ("equal values", "values that were not packed and are the parent's bit for bit"),
    "values_compared": ("values compared", "numbers sampled from each model"),
    "values_in_all": ("values in all", "numbers that the model has"),
    "detector_agrees": ("detector agrees", "whether the trained detector and the other evidence point the same way"),
    "same_files": ("same files", "whether the weight files are the same bytes"),
    "retained": ("retained", "share of values that are equal bit for bit"),
    "share": ("share", "the parent's share of the merged weights"),
    "method": ("kind of adapter", "as the names of its tensors show"),
    "rank": ("rank", "of the products that it adds to weights; several where modules differ"),
    "targets": ("adapted", "modules that it changes, by the last part of their names"),
    "modules": ("adapted modules", "how many it changes"),
    "fitting_modules": ("of them fit", "exist in the base with a weight of fitting size"),
    "misfit": ("contradiction", "what it changes and the base does not have"),
    "vocabulary_rows": ("vocabulary", "rows that it brings, and rows of the base"),
    "claimed_in": ("declared in", "where the base is named"),
    "disguise": ("disguise", "how a copy was changed"),
    "size": ("size of the change", "of the noise over the model's weights, or the largest factor"),
}


def terms(evidence: Mapping[str, Any]) -> list[Term]:
    """The evidence in the order of `_LABELS`, then everything else by name; nested values and long lists are left to the JSON."""
    known = [name for name in _LABELS if name in evidence]
    rest = sorted(name for name in evidence if name not in _LABELS)
    return [_term(name, evidence[name]) for name in (*known, *rest) if _simple(evidence[name])]


def _simple(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return 0 < len(value) <= MOST_IN_A_LIST and all(isinstance(one, (int, str)) for one in value)
    return value is not None and isinstance(value, (bool, int, float, str))


def _term(name: str, value: Any) -> Term:
    label, meaning = _LABELS.get(name, (visible(name.replace("_", " ")), ""))
    bar = None
    if name.endswith("_log_odds") and isinstance(value, (int, float)):
        bar = max(-1.0, min(1.0, value / STRONGEST))
    elif name == "growth_z" and isinstance(value, (int, float)):
        bar = max(-1.0, min(1.0, value / 10.0))
    return Term(name, label, _text(value), meaning, bar)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else visible(value)
