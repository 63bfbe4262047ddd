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


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one entry of the evidence is. values: unit or range, as docs/evidence.md has it."""

    label: str
    values: str
    meaning: str


LOG_ODDS = "any number; above 0 for it"
SHARE = "0 to 1"
COUNT = "count"
NAMES = "names"

MEANINGS: Mapping[str, Meaning] = {
    name: Meaning(*rest)
    for name, *rest in (
        (
            "direction_log_odds",
            "direction, without training",
            LOG_ODDS,
            "log-odds that the parent came first, by growth, decay and balance",
        ),
        (
            "detector_log_odds",
            "trained detector",
            LOG_ODDS,
            "log-odds that the parent came first; the detector sees neither names nor dates; 0 where it was left out",
        ),
        *(
            (f"{signal.name}_log_odds", signal.name, LOG_ODDS, f"log-odds that the parent came first: {signal.phrase}")
            for signal in of_kind(Kind.CERTAIN)
        ),
        (
            "growth_z",
            "growth, z",
            "standard errors",
            "how far the growth lies above zero; above 3 the parent came first, below -3 the child",
        ),
        (
            "growth_gamma",
            "growth, γ",
            "about -1 to 1",
            "share of the movement that is growth: 1 all of it, 0 two siblings moved alike; beyond 1 the later one moved along what was "
            "there, and growth and detector count for less",
        ),
        (
            "inheritance_slope",
            "inheritance",
            "about 0 to 1.5",
            "share of what the parent had learned that is still in the child; 1 is all of it; null where no third model shows it",
        ),
        ("related", "related", SHARE, "1 for copies, 0 for models trained apart"),
        (
            "relative_distance",
            "distance",
            "0 and up",
            "length of the difference over the length of the parent's weights; of a packed copy, of its packed values",
        ),
        (
            "same_run",
            "one training run",
            SHARE,
            "probability that both are checkpoints of one training run; null where no third model shows it",
        ),
        ("unseen_parent", "unseen parent", SHARE, "probability that the true parent is a model that is not known here"),
        ("family_size", "family", COUNT, "related models that were compared"),
        (
            "detector_agrees",
            "detector agrees",
            "true, false, null",
            "whether the trained detector and the other evidence point the same way",
        ),
        ("nearly_equal", "nearly equal", NAMES, "models so near to the parent that they may be meant instead"),
        (
            "equal_values",
            "equal values",
            "0 to 1; of packed copies a count",
            "values that are the parent's bit for bit",
        ),
        ("values_compared", "values compared", COUNT, "numbers sampled from each model"),
        ("values_in_all", "values in all", COUNT, "numbers that the model has"),
        ("compared_share", "share compared", SHARE, "how much of the smaller sample the other model has too"),
        ("compared_with", "compared with", COUNT, "models of the architecture, none of which is related"),
        ("part", "part", "names", "part of the model that the edge is about, like `unet`, or several"),
        ("parts", "parts", "names", "several parts that come from one parent, as a list"),
        ("same_files", "same files", "true, false", "whether the weight files are the same bytes"),
        ("equal_to", "equal to", "name", "model with the same weights, where it is not known which came first"),
        ("equal_bodies", "equal bodies", COUNT, "models with the same backbone and other heads"),
        ("disguise", "disguise", "`scaled`, `noise`", "how a copy was changed"),
        ("size", "size of the change", "0 and up", "of the noise over the model's weights, or the largest factor"),
        ("format", "packing", "name", "how the values of a copy are packed"),
        ("bits", "bits", "1 to 8", "of one packed value"),
        ("digits", "digits", "bits", "binary digits that a rounded copy's values have"),
        ("digits_of_parent", "digits of the parent", "bits", "binary digits that the parent's values have"),
        ("equal_shapes", "equal shapes", COUNT, "tensors whose shapes a packed copy and the claimed original share"),
        ("tensors_of_parent", "tensors of the parent", COUNT, "tensors that the claimed original has"),
        ("claimed_in", "declared in", "files", "where the base is named"),
        ("share", "share", SHARE, "the parent's share of the merged weights"),
        ("shares", "shares", f"by name, {SHARE}", "share of each parent in a merge"),
        (
            "weights",
            "weights",
            "by name",
            "factor of each parent's difference from the base, in a merge of differences",
        ),
        ("base", "base", "name", "model whose differences a merge adds up"),
        (
            "perhaps_base",
            "perhaps its base",
            NAMES,
            "other models that may be a merge's base: its values do not tell which",
        ),
        ("unseen_part", "unseen part", "true", "part of a merge comes from a model that is not known here"),
        (
            "dropped_values",
            "values that stayed",
            "0 to 1",
            "share of the values near zero that are exactly another model's although those beside them moved: some merge, whose parents "
            "were not found",
        ),
        (
            "sum_of",
            "nearly a sum of",
            "by name",
            "weights of the models of which a model is nearly a sum: some merge, of which a part or the base is not known here",
        ),
        (
            "between",
            "opposite model",
            "name",
            "model on the other side of the likeliest parent, as the second part of a merge is",
        ),
        ("pruned_share", "pruned", "0 to 1", "share of the original's values that a pruned copy has set to zero"),
        (
            "distance_share",
            "nearer to the copy",
            "0 to 1",
            "distance from a pruned copy over that from the model that it is a copy of",
        ),
        (
            "off_the_line",
            "off the line",
            "0 and up",
            "what the parents of a merge leave unexplained, over the distance between them",
        ),
        (
            "toward_parts",
            "toward the parts",
            "-1 to 0.35",
            "of the way from a merge to a model that it was merged from, what a model trained from the merge went",
        ),
        ("layers", "layers", "numbers", "layer of the parent that each layer comes from"),
        ("layers_alike", "layers alike", "cosine, -1 to 1", "of a layer and the one that it comes from, median"),
        ("layers_compared", "layers compared", COUNT, "layers of the child that the samples hold"),
        ("layers_of_parent", "layers of the parent", COUNT, "layers that the parent has"),
        (
            "same_kernels",
            "same kernels",
            SHARE,
            "kernels that are the parent's times one factor each, its batch norms folded in",
        ),
        (
            "kernel_cosine",
            "kernels alike",
            SHARE,
            "cosine of kernels, whose lengths folded batch norms have changed, median",
        ),
        ("renamed", "renamed", "true", "the two name their tensors differently; they were matched by values"),
        ("tensors_matched", "tensors matched", COUNT, "tensors found under another name"),
        ("share_matched", "share matched", SHARE, "how much of the sample was found under other names"),
        ("method", "method", "name", "of an adapter, as the names of its tensors show; of a merge, how it was made"),
        ("rank", "rank", "counts", "of the products that an adapter adds to weights; several where modules differ"),
        ("targets", "adapted", NAMES, "modules that an adapter changes, by the last part of their names"),
        ("modules", "adapted modules", COUNT, "how many an adapter changes"),
        ("fitting_modules", "of them fit", COUNT, "exist in the base with a weight of fitting size"),
        ("fitting_models", "models that fit", COUNT, "known models that an adapter without a known base fits"),
        ("misfit", "contradiction", "sentence", "what an adapter changes and the base does not have"),
        ("vocabulary_rows", "vocabulary", "two counts", "rows that an adapter brings, and rows of the base"),
    )
}


def terms(evidence: Mapping[str, Any]) -> list[Term]:
    """The evidence in the order of `MEANINGS`, then everything else by name; nested values and long lists are left to the JSON."""
    known = [name for name in MEANINGS if name in evidence]
    rest = sorted(name for name in evidence if name not in MEANINGS)
    return [_term(name, evidence[name]) for name in (*known, *rest) if _simple(evidence[name])]


def _simple(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return 0 < len(value) <= MOST_IN_A_LIST and all(isinstance(one, (int, str)) for one in value)
    return value is not None and isinstance(value, (bool, int, float, str))


def _term(name: str, value: Any) -> Term:
    known = MEANINGS.get(name, Meaning(visible(name.replace("_", " ")), "", ""))
    bar = None
    if name.endswith("_log_odds") and isinstance(value, (int, float)):
        bar = max(-1.0, min(1.0, value / STRONGEST))
    elif name == "growth_z" and isinstance(value, (int, float)):
        bar = max(-1.0, min(1.0, value / 10.0))
    return Term(name, known.label, _text(value), known.meaning, bar)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else visible(value)
