"""Decisions -> what people and programs read: the answers of `lineage scan` and `lineage explain`, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.reasons import GROWTH_TELLS
from lineage.detect.signals.interface import Kind
from lineage.detect.signals.registry import of_kind
from lineage.graphdb.schema import Relation, chance, chance_beside, chance_undecided, counted, printable

if TYPE_CHECKING:
    from lineage.detect.explain import Explanation

LAYERS_SHOWN = 40
MANY_UNREADABLE = 4  # files alike that get one line
UNRELATED = ("unrelated", "no_near_relatives")
ALONG_THE_WEIGHTS = 2.0  # |gamma| beyond which it counts less than a quarter


@dataclass(frozen=True, slots=True)
class ScannedModel:
    """One readable model of a scan. digest: of its weight files."""

    id: str
    signature: str
    digest: str


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole scan. unreadable: id -> reason."""

    models: Sequence[ScannedModel]
    decisions: Sequence[Decision]
    unreadable: Mapping[str, str]


def as_json(scan: Scan) -> dict[str, Any]:
    """The contract of `lineage scan --json`; keys are only ever added."""
    return {
        "models": [{"id": m.id, "model": m.id, "signature": m.signature, "digest": m.digest} for m in scan.models],
        "edges": [
            {
                "child": d.model,
                "parent": parent,
                "relation": d.relation,
                "probability": round(d.probability, 4),
                "decided_by": list(d.decided_by),
                "evidence": {**d.evidence, "reason": str(d.reason)},
            }
            for whole in scan.decisions
            for d in (whole, *whole.other_parts)
            for parent, _ in d.parents
        ],
        "undecided": [
            {
                "child": d.model,
                "model": d.model,
                "candidates": [{"parent": c.parent, "probability": round(c.probability, 4)} for c in d.candidates],
                "reason": str(d.reason),
            }
            for d in scan.decisions
            if d.answer is AnswerKind.UNDECIDED
        ],
        "roots": [
            {"model": d.model, "probability": round(d.probability, 4), "reason": str(d.reason)}
            for d in scan.decisions
            if d.answer is AnswerKind.ROOT
        ],
        "no_relatives": [
            {"model": d.model, "reason": str(d.reason)} for d in scan.decisions if d.answer is AnswerKind.NO_RELATIVES
        ],
        "siblings": [{"models": list(names), "probability": round(p, 4)} for names, p in _siblings(scan)],
        "unreadable": [{"id": name, "model": name, "reason": reason} for name, reason in scan.unreadable.items()],
    }


def as_tree(scan: Scan) -> list[str]:
    """Lines of text: each family under its root, then those that are alone, undecided, or unreadable, then counts."""
    by_model = {d.model: d for d in scan.decisions}
    children: dict[str, list[str]] = {}
    for decision in scan.decisions:
        above = decision.parent or _equal_to(decision, by_model)
        if above is not None:
            children.setdefault(above, []).append(decision.model)
    lines: list[str] = []
    tops = [d for d in scan.decisions if d.parent is None and _equal_to(d, by_model) is None]
    for top in sorted(tops, key=lambda d: (d.answer is AnswerKind.UNDECIDED, d.model not in children)):
        lines.append(f"{top.model}   ({_why_on_top(top)})")
        lines += _branches(top.model, children, by_model, "")
    lines += [
        f"{_listed(names)} may all come from one model that is not here (probability {chance(p)})"
        for names, p in _siblings(scan)
    ]
    lines += [
        f"{part.model} ({part.evidence.get('part', 'another part')})   from {part.parent}, {chance(part.probability)}"
        for decision in scan.decisions
        for part in decision.other_parts
    ]
    lines += _not_read(scan.unreadable)
    answers = [decision.answer for decision in scan.decisions]
    counts = [
        counted(len(scan.models), "model"),
        f"{answers.count(AnswerKind.PARENT)} with a parent",
        counted(answers.count(AnswerKind.ROOT), "root"),
        *([f"{alone} without known relatives"] if (alone := answers.count(AnswerKind.NO_RELATIVES)) else []),
        f"{answers.count(AnswerKind.UNDECIDED)} undecided",
        f"{len(scan.unreadable)} not readable",
    ]
    return [printable(line) for line in (*lines, "", ", ".join(counts))]


def _not_read(unreadable: Mapping[str, str]) -> list[str]:
    """One line a file; of many in one folder with one ending and one reason, one line for all of them."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for name, reason in unreadable.items():
        folder, _, file = name.rpartition("/")
        alike.setdefault((folder, file.rpartition(".")[2], reason.replace(file, "")), []).append(name)
    lines = []
    for (folder, ending, _), names in alike.items():
        if len(names) < MANY_UNREADABLE:
            lines += [f"{name}   (not read: {unreadable[name]})" for name in names]
        else:
            reason = unreadable[names[0]].removeprefix(f"{names[0].rpartition('/')[2]}: ")
            lines.append(f"{folder}{'/' if folder else ''}*.{ending}, {len(names)} files   (not read: {reason})")
    return lines


def _siblings(scan: Scan) -> list[tuple[tuple[str, ...], float]]:
    """Groups of models that may have one unseen parent, each once, and how likely that is."""
    groups = {d.siblings: float(d.evidence["unseen_parent"]) for d in scan.decisions if d.siblings}
    return sorted(groups.items())


def _listed(names: Sequence[str], at_most: int = 5) -> str:
    """As in "a, b and c"; beyond `at_most` the number of the others."""
    shown = list(names) if len(names) <= at_most else [*names[: at_most - 1], f"{len(names) - at_most + 1} more"]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _why_on_top(decision: Decision) -> str:
    if decision.answer is AnswerKind.ROOT:
        return f"root: {decision.reason}"
    if decision.answer is AnswerKind.NO_RELATIVES:
        return f"no relatives known: {decision.reason}"
    named = ", ".join(f"{c.parent} {chance_undecided(c.probability)}" for c in decision.candidates[:3])
    return f"undecided: {decision.reason}{'; ' if named else ''}{named}"


def ties(scan: Scan) -> dict[str, str]:
    """Model with the same values as another one, where nothing says which is the copy -> that one; they may have a parent in common."""
    by_model = {d.model: d for d in scan.decisions}
    return {d.model: equal for d in scan.decisions if (equal := _tied_with(d, by_model)) is not None}


def _equal_to(decision: Decision, by_model: Mapping[str, Decision]) -> str | None:
    """The model with the same weights that an undecided one is shown below: its group's representative."""
    return _tied_with(decision, by_model) if decision.answer is AnswerKind.UNDECIDED else None


def _tied_with(decision: Decision, by_model: Mapping[str, Decision]) -> str | None:
    return decision.tied_with if decision.tied_with in by_model else None


def _same(decision: Decision, model: str) -> str:
    """That two models have the same weights, or are equal in the sample."""
    compared, everything = (decision.evidence.get(key) for key in ("values_compared", "values_in_all"))
    if decision.evidence.get("same_files") or compared is None or compared == everything:
        return f"same weights as {model}"
    return f"equal to {model} in the {compared:,} values compared"


def _branches(
    model: str, children: Mapping[str, Sequence[str]], by_model: Mapping[str, Decision], indent: str
) -> list[str]:
    lines = []
    below = children.get(model, ())
    for place, child in enumerate(below):
        last = place == len(below) - 1
        decision, branch = by_model[child], f"{indent}{'└── ' if last else '├── '}"
        deeper = indent + ("    " if last else "│   ")
        if decision.parent is None:
            lines.append(
                f"{branch}{child}   (undecided: {_same(decision, model)}; which came first is not in the weights)"
            )
            lines += _branches(child, children, by_model, deeper)
            continue
        how = (decision.relation or Relation.FINE_TUNED_FROM).phrase.removeprefix("was ").removeprefix("is ")
        if decision.reason.key == "cast":
            how = "cast from"
        how = how.removesuffix(" from").removesuffix(" of")
        part = f" ({decision.evidence['part']})" if "part" in decision.evidence else ""
        lines.append(f"{branch}{child}{part}   {how}, {chance(decision.probability)}")
        lines += _branches(child, children, by_model, deeper)
    return lines


def verdict_as_json(
    decision: Decision, child: str, parent: str, probability: float, names: Mapping[str, str]
) -> dict[str, Any]:
    """What every explanation begins with: the question about one parent, and what was decided about the child.

    Args:
        probability: of this parent; names: id -> what people call it.
    """
    return {
        "child": names[child],
        "parent": names[parent],
        "is_parent": parent in dict(decision.parents),
        "probability": round(probability, 4),
        "verdict": {
            "answer": str(decision.answer),
            "parent": names.get(decision.parent or ""),
            "relation": decision.relation,
            "probability": round(decision.probability, 4),
            "decided_by": list(decision.decided_by),
            "evidence": dict(decision.evidence),
            "reason": decision.reason.text(names.get),
        },
        "candidates": [
            {"parent": names[c.parent], "probability": round(c.probability, 4)} for c in decision.candidates
        ],
    }


def explanation_as_json(found: Explanation, declared: Sequence[str]) -> dict[str, Any]:
    """What `lineage explain --json` prints; keys are only ever added.

    Args:
        declared: what the child's card and configuration name as its base.
    """
    names = found.names
    return {
        **verdict_as_json(found.decision, found.child, found.parent, found.probability, names),
        "pair": {
            "relative_distance": round(found.relative_distance, 6),
            "related": round(found.related, 4),
            "growth_z": round(found.growth_z, 2),
            "growth_gamma": round(found.growth_gamma, 3),
            "equal_units": round(found.equal, 4),
            "values_compared": found.values,
        },
        "layers": [
            {
                "name": layer.name,
                "units": layer.units,
                "values": layer.values,
                "moved": round(layer.moved, 6),
                "equal_units": round(layer.equal_units, 4),
                "growth_z": round(layer.growth_z, 2),
                "growth_gamma": _rounded(layer.growth_gamma),
                "growth_error": _rounded(layer.growth_error),
                "inheritance_slope": _rounded(layer.slope),
                "inheritance_error": _rounded(layer.slope_error),
            }
            for layer in found.layers
        ],
        "background": [{"model": names[name], "related": round(value, 4)} for name, value in found.background],
        "layer_map": found.layer_map,
        "inherited_since": names.get(found.since or ""),
        "models_weighed": found.weighed,
        "declared": list(declared),
    }


def explanation_as_text(found: Explanation, declared: Sequence[str], everything: bool = False) -> str:
    """The verdict, the numbers of the pair, layer by layer, and the child beside the other models at hand."""
    pair = [
        ("distance", f"{found.relative_distance:.2f} of the parent's length"),
        ("related", f"{found.related:z.2f}   (copies 1, trained apart 0)"),
        (
            "growth",
            f"z = {found.growth_z:+z.2f}, gamma {found.growth_gamma:+z.2f}   ({_growth_says(found)})",
        ),
        *_signals(found.decision, found.names.get(found.decision.parent or "") == found.names[found.parent]),
        ("equal", f"{found.equal:.2f} of the units, bit for bit"),
        ("compared", f"{found.values:,} values in {counted(len(found.layers), 'tensor')}"),
        *([("layers", found.layer_map)] if found.layer_map else []),
        ("card says", ", ".join(declared) or "nothing"),
    ]
    lines = [verdict_sentence(found), "", *(f"  {name:<9} {text}" for name, text in pair), ""]
    layers, slopes = found.layers if everything else found.layers[:LAYERS_SHOWN], inheritance_known(found)
    width = max(len("tensor"), *(len(layer.name) for layer in layers))
    lines.append(f"  {'tensor':<{width}}  units  moved  equal  growth z" + ("  inherited" if slopes else ""))
    lines += [
        f"  {layer.name:<{width}}  {layer.units:>5}  {layer.moved:>5.2f}  {layer.equal_units:>5.2f}  {_z(layer.growth_z):>8}"
        + (f"  {_with_error(layer.slope, layer.slope_error)}" if slopes else "")
        for layer in layers
    ]
    if len(layers) < len(found.layers):
        lines.append(f"  … {len(found.layers) - len(layers)} more: --all")
    if slopes:
        lines += [
            "",
            f"  inherited: share of what {found.names[found.parent]} learned since {found.names[found.since or '']} that is still there",
        ]
    if decision_candidates := [c for c in found.decision.candidates if c.parent != found.parent]:
        lines += ["", "  other candidates"]
        lines += [f"    {found.names[c.parent]}  {_chance(found.decision, c)}" for c in decision_candidates[:5]]
    beside = [(found.names[name], value) for name, value in found.background]
    width = max(len(name) for name, _ in beside)
    lines += ["", f"  {found.names[found.child]} beside the models of its architecture, by relatedness"]
    lines += [f"    {name:<{width}}  {value:>z5.2f}" for name, value in beside]
    return "\n".join(map(printable, lines))


def _chance(decision: Decision, candidate: Candidate) -> str:
    """The probability of one candidate beside what was decided."""
    if candidate.parent in dict(decision.parents):
        return chance(decision.probability)
    found = None if decision.parent is None else decision.probability
    return chance_beside(candidate.probability, found, candidate.parent in decision.evidence.get("nearly_equal", ()))


def verdict_sentence(found: Explanation) -> str:
    """What was decided about the child, as far as it concerns this parent."""
    decision, names = found.decision, found.names
    child, parent = names[found.child], names[found.parent]
    reason = decision.reason.text(names.get)
    if found.parent in dict(decision.parents):
        how = (decision.relation or Relation.FINE_TUNED_FROM).phrase
        return f"{child} {how} {parent} (probability {chance(decision.probability)}): {reason}"
    this = f"that it is {parent} has probability {chance_undecided(found.probability)}"
    if found.relative_distance == 0 and found.equal == 1 and found.layer_map is None:
        equal = f"{child} and {parent} are equal in all {found.values:,} values compared"
        if decision.parent is None:
            return f"{equal}: which of them is the copy is not in the weights"
        how = (decision.relation or Relation.FINE_TUNED_FROM).phrase
        return f"{equal}: {child} {how} {names[decision.parent]} (probability {chance(decision.probability)}): {reason}"
    if decision.parent is not None:
        how = (decision.relation or Relation.FINE_TUNED_FROM).phrase
        other = f"{names[decision.parent]} (probability {chance(decision.probability)})"
        return f"{parent} is not the parent: {child} {how} {other}: {reason}"
    if found.common_start:
        long = "they had a start in common, or one is a long training of the other"
        return f"{child} and {parent} are no near relatives: {long} (relatedness {found.related:.2f}, that of a copy 1)"
    if decision.answer is AnswerKind.ROOT and decision.reason.key == "oldest":
        return f"{child} is taken for {reason}; that {parent} is its parent has probability {chance(found.probability)}"
    if decision.answer is AnswerKind.ROOT:
        return f"{parent} is not the parent of {child}, which has none here: {reason}"
    if decision.answer is AnswerKind.NO_RELATIVES:
        return f"{parent} is not the parent of {child}, which has no relatives here: {reason}"
    return f"cannot tell the parent of {child}{'; ' + this if decision.candidates else ''}: {reason}"


def inheritance_known(found: Explanation) -> bool:
    """Whether any tensor says how much of what the parent learned is left; not so where all are equal or too small."""
    return found.since is not None and any(
        layer.slope is not None and layer.slope_error is not None for layer in found.layers
    )


def _signals(decision: Decision, about_this_parent: bool) -> list[tuple[str, str]]:
    """What signals that are added as they are say of the edge, where they say anything."""
    found = []
    for signal in of_kind(Kind.CERTAIN) if about_this_parent else ():
        odds = decision.evidence.get(f"{signal.name}_log_odds")
        if odds:
            found.append((signal.name, f"{odds:+.1f} log-odds: {signal.phrase}"))
    return found


def _z(value: float) -> str:
    """Empty for a tensor that growth says nothing about, such as a vector."""
    return f"{value:+.2f}" if value else ""


def _with_error(value: float | None, error: float | None) -> str:
    return "" if value is None or error is None else f"{value:z.2f} ± {error:.2f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _growth_says(found: Explanation) -> str:
    z, gamma = found.growth_z, found.growth_gamma
    if abs(z) < GROWTH_TELLS:
        return "does not say which came first"
    if found.decision.reason.key in UNRELATED:
        return "of models that are no near relatives it does not say which came first"
    if abs(gamma) > ALONG_THE_WEIGHTS:
        return "moved along the weights, so hardly says which came first"
    return "the parent came first" if z > 0 else "the child came first"
