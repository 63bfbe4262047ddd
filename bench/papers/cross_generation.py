"""Neural Lineage's cross-generation test: which model of generation i does a model of generation j come from?

    python -m bench.papers.cross_generation --out FOLDER [--quick]

In: four generations of a small residual network (bench/papers/generations.py). Out: a table, methods by cells (G1->G2 ... G3->G4;
few-shot, imbalanced and other numbers of outputs for children of G1), and a last line of JSON. Every method gets a child and the list
of candidates, the true ancestor among them, as in the paper (Yu & Wang, CVPR 2024, arXiv 2406.11129). `lineage` gets the same: each child
with its candidates and no other model, its best candidate counts; "asserted" counts only what it asserts by itself. "lineage, nothing
given" sees all models of all generations at once, unordered, and its edges are followed upwards.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from bench.datasets import Data, from_environment
from bench.families import read_sketches
from bench.papers.generations import QUICK, SPECIAL, Member, Plan, build_generations, network_of, probe
from bench.zoo.architectures import Network
from lineage.detect.decision import AnswerKind
from lineage.detect.methods.nl_approximation import features_and_changes, features_of, taylor_from
from lineage.detect.methods.nl_free import statistics
from lineage.detect.methods.nl_network import CandidateExample, Shape, train_detector, weight_picture
from lineage.detect.methods.nl_similarity import SIMILARITIES, reported
from lineage.detect.methods.np_detector import FamilyCrops, PhylogenyPlan, crops
from lineage.detect.methods.np_detector import train as train_phylogeny
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.sketch_store import Sketch

FREE = ("l1", "l2", "cka", "dc")
SCALES = {"": 0.0, " + taylor": 1.0, " + taylor 0.01": 0.01}  # plain; the released code's default; its README's example
MOST_CHILDREN = 24  # of a cell, evenly taken: published methods need a pass through the network for each pair
WEIGHT = "layer2.0.conv1.weight"  # what the detector's pictures of weights show
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Cell:
    """Children of one kind and the models among which their ancestor is sought."""

    name: str
    candidates: tuple[str, ...]
    children: tuple[str, ...]
    truth: Mapping[str, str]


def cells_of(members: Sequence[Member]) -> list[Cell]:
    by_id = {m.id: m for m in members}

    def ancestor(name: str, generation: int) -> str:
        while by_id[name].generation > generation:
            above = by_id[name].parent
            assert above is not None
            name = above
        return name

    def cell(name: str, generation: int, children: Sequence[Member]) -> Cell:
        candidates = tuple(m.id for m in members if m.generation == generation and m.kind == "full")
        children = children[:: -(-len(children) // MOST_CHILDREN)]
        return Cell(
            name, candidates, tuple(m.id for m in children), {m.id: ancestor(m.id, generation) for m in children}
        )

    found = [
        cell(f"G{i}→G{j}", i, [m for m in members if m.generation == j and m.kind == "full"])
        for i in (1, 2, 3)
        for j in range(i + 1, 5)
    ]
    return found + [cell(kind, 1, [m for m in members if m.kind == kind]) for kind in SPECIAL]


class Stage(Network):
    """The network up to its second stage, so that no time goes into what lies above."""

    def __init__(self, whole: Network):
        super().__init__()
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.whole.bn1(self.whole.conv1(x)))
        return self.whole.layer2(self.whole.layer1(x)).flatten(1)


def features_function(samples: Tensor) -> Callable[[Tensors], Tensor]:
    """tensors of a model -> (n, d) features of the samples after the second stage."""
    stage = Stage(network_of(10).eval())
    used = {n.removeprefix("whole.") for n in stage.state_dict() if not n.startswith(("whole.fc.", "whole.layer3."))}

    def run(tensors: Tensors) -> Tensor:
        return functional_call(stage, {f"whole.{n}": tensors[n] for n in used}, (samples,))

    return run


class MethodAnswers:
    """Answers of every method, kept in FOLDER/answers.json after each cell, so that a run that was stopped goes on."""

    def __init__(self, folder: Path, fingerprint: str):
        self.path = folder / "answers.json"
        self.fingerprint = fingerprint
        self.found: dict[str, dict[str, dict[str, str | None]]] = {}
        if self.path.exists():
            kept = json.loads(self.path.read_text())
            if kept["fingerprint"] == fingerprint:
                self.found = kept["found"]

    def once(self, method: str, cell: str, work: Callable[[], dict[str, dict[str, str | None]]]) -> None:
        """Runs `work`, which gives answers by method, unless `method` has been measured in this cell."""
        if cell in self.found.get(method, {}):
            return
        for name, answers in work().items():
            self.found.setdefault(name, {})[cell] = answers
        self.path.write_text(json.dumps({"fingerprint": self.fingerprint, "found": self.found}))


def learning_free(
    cell: Cell, states: Mapping[str, Tensors], members: Mapping[str, Member], data: Data, samples: int
) -> dict[str, dict[str, str | None]]:
    """Answers of nl-l1, nl-l2, nl-cka, nl-dc: plain, with both approximations, and on weights."""
    answers: dict[str, dict[str, str | None]] = defaultdict(dict)
    by_set: dict[str, list[str]] = defaultdict(list)
    for child in cell.children:
        by_set[members[child].source].append(child)
    for source, children in by_set.items():
        forward = features_function(probe(source, data, samples))
        models = [states[c] for c in children]
        theirs = [features_of(m, forward) for m in models]
        tables: dict[str, list[Tensor]] = defaultdict(list)
        for candidate in cell.candidates:
            parent = states[candidate]
            own, changes = features_and_changes(parent, models, forward, statistics(parent))
            rows: dict[str, list[list[float]]] = defaultdict(list)
            for name in FREE:
                pairs = [taylor_from(own, c, f, name) for c, f in zip(changes, theirs, strict=True)]
                for kind, scale in SCALES.items():
                    rows[kind].append([float(reported(name, v + scale * a)) for v, a in pairs])
                near = [SIMILARITIES[name](own + c, f) for c, f in zip(changes, theirs, strict=True)]
                rows[" + linear"].append([float(reported(name, v)) for v in near])
            for kind, found in rows.items():
                tables[kind].append(torch.tensor(found, dtype=torch.float64))
        for kind, rows in tables.items():
            best = torch.stack(rows).argmax(0)  # (similarities, children)
            for row, name in zip(best, FREE, strict=True):
                for child, place in zip(children, row.tolist(), strict=True):
                    answers[f"nl-{name}{kind}"][child] = cell.candidates[place]
    for power, name in ((1.0, "l1"), (2.0, "l2")):
        ours = torch.stack([_flat(states[c]) for c in cell.candidates])
        distance = torch.cdist(torch.stack([_flat(states[c]) for c in cell.children]), ours, p=power)
        for child, place in zip(cell.children, distance.argmin(1).tolist(), strict=True):
            answers[f"nl-{name} on weights"][child] = cell.candidates[place]
    return dict(answers)


def _flat(tensors: Tensors) -> Tensor:
    return torch.cat(
        [t.flatten() for n, t in sorted(tensors.items()) if t.ndim > 1 and not n.startswith("fc.")]
    ).double()


def examples_of(
    cell: Cell, states: Mapping[str, Tensors], members: Mapping[str, Member], data: Data
) -> dict[str, CandidateExample]:
    """What the detector sees of each child: 64 samples of its own data, and one convolution."""
    kept: dict[tuple[str, str], Tensor] = {}

    def features(model: str, source: str) -> Tensor:
        if (model, source) not in kept:
            kept[model, source] = features_of(states[model], features_function(probe(source, data, 64)))
        return kept[model, source]

    found = {}
    for child in cell.children:
        source = members[child].source
        own, mine = weight_picture(states[child][WEIGHT]), features(child, source)
        weights = torch.stack([torch.stack([weight_picture(states[c][WEIGHT]), own]) for c in cell.candidates])
        pictures = torch.stack([torch.stack([features(c, source), mine]) for c in cell.candidates])
        found[child] = CandidateExample(weights, pictures, cell.candidates.index(cell.truth[child]))
    return found


def detector(
    cells: Sequence[Cell], states: Mapping[str, Tensors], members: Mapping[str, Member], data: Data, epochs: int
) -> dict[str, dict[str, str | None]]:
    """cell -> answers of nl-detector: trained on every other child of all cells, asked about the rest, and the other way round."""
    torch.manual_seed(0)
    answers: dict[str, dict[str, str | None]] = {cell.name: {} for cell in cells}
    examples = {cell.name: examples_of(cell, states, members, data) for cell in cells}
    for fold in (0, 1):
        seen = [e for cell in cells for place, e in enumerate(examples[cell.name].values()) if place % 2 != fold]
        network = train_detector(seen, Shape(none=False), epochs)
        for cell in cells:
            for place, child in enumerate(cell.children):
                if place % 2 == fold:
                    best = int(network.probabilities(examples[cell.name][child]).argmax())
                    answers[cell.name][child] = cell.candidates[best]
    return answers


def phylogeny_detector(
    cells: Sequence[Cell], sketches: Mapping[str, Sketch], epochs: int
) -> dict[str, dict[str, str | None]]:
    """cell -> answers of np-detector, in the same two halves: the candidate that its row for the child ranks highest."""
    answers: dict[str, dict[str, str | None]] = {cell.name: {} for cell in cells}
    cpu = torch.device("cpu")
    for fold in (0, 1):
        families = []
        for cell in cells:
            seen = [c for place, c in enumerate(cell.children) if place % 2 != fold]
            own = range(len(cell.candidates))
            parents = (*own, *(cell.candidates.index(cell.truth[c]) for c in seen))
            families.append(FamilyCrops(tuple(Subject(n, sketches[n]) for n in (*cell.candidates, *seen)), parents))
        plan = PhylogenyPlan(epochs=epochs)
        network = train_phylogeny(families, plan, cpu)
        for cell in cells:
            for place, child in enumerate(cell.children):
                if place % 2 == fold:
                    shown = [Subject(n, sketches[n]) for n in (*cell.candidates, child)]
                    with torch.no_grad():
                        row = network(crops(shown, plan.tensor, cpu))[-1, :-1]
                    answers[cell.name][child] = cell.candidates[int(row.argmax())]
    return answers


def ours(cell: Cell, sketches: Mapping[str, Sketch]) -> dict[str, dict[str, str | None]]:
    """`lineage` about each child with its candidates; that the candidates came before it is told by dates, as the paper's task tells it."""
    before, after = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
    given = [Subject(c, sketches[c], before) for c in cell.candidates]
    best: dict[str, str | None] = {}
    asserted: dict[str, str | None] = {}
    for child in cell.children:
        decision = decide([*given, Subject(child, sketches[child], after)])[-1]
        asserted[child] = decision.parent
        best[child] = decision.candidates[0].parent if decision.candidates else decision.parent
    return {"lineage": best, "lineage, asserted": asserted}


def ours_unaided(
    cells: Sequence[Cell], sketches: Mapping[str, Sketch]
) -> tuple[dict[str, dict[str, str | None]], dict[str, Any]]:
    """cell -> answers when all models are given at once and nothing else; and counts of the direct edges."""
    decisions = decide([Subject(name, sketch) for name, sketch in sketches.items()], Options(dates=False))
    parent = {d.model: d.parent for d in decisions}
    answers: dict[str, dict[str, str | None]] = {}
    for cell in cells:
        answers[cell.name] = {}
        for child in cell.children:
            at, seen = parent.get(child), {child}
            while at is not None and at not in cell.candidates and at not in seen:
                seen.add(at)
                at = parent.get(at)
            answers[cell.name][child] = at if at in cell.candidates else None
    counts = {a.value: sum(d.answer is a for d in decisions) for a in AnswerKind}
    return answers, counts


def run(folder: Path, quick: bool, samples: int, epochs: int, left_out: Sequence[str]) -> dict[str, Any]:
    data, plan = from_environment(), QUICK if quick else Plan()
    began = time.monotonic()
    members, states, trained = build_generations(folder, plan, data)
    by_id = {m.id: m for m in members}
    cells = cells_of(members)
    measured = MethodAnswers(folder, f"{plan} {samples} {epochs}")
    for cell in cells:
        measured.once("nl-l1 + linear", cell.name, lambda c=cell: learning_free(c, states, by_id, data, samples))
    if "nl-detector" not in {*measured.found, *left_out}:
        for name, answers in detector(cells, states, by_id, data, epochs).items():
            measured.once("nl-detector", name, lambda a=answers: {"nl-detector": a})
    sketches = read_sketches(folder / "models")
    if "np-detector" not in {*measured.found, *left_out}:
        for name, answers in phylogeny_detector(cells, sketches, epochs).items():
            measured.once("np-detector", name, lambda a=answers: {"np-detector": a})
    result: dict[str, Any] = {"bench": "cross_generation", "quick": quick, "data": data.source, "models": len(members)}
    for cell in cells:  # ours is measured anew each time: it changes, the others do not
        for name, answers in ours(cell, sketches).items():
            measured.found.setdefault(name, {})[cell.name] = answers
    unaided, counts = ours_unaided(cells, sketches)
    measured.found["lineage, nothing given"] = unaided
    result |= {"training_seconds": round(trained), "seconds": round(time.monotonic() - began), "answers": counts}
    result["cells"] = {c.name: {"candidates": len(c.candidates), "children": len(c.children)} for c in cells}
    result["right"] = {
        method: {c.name: sum(by_cell[c.name][k] == c.truth[k] for k in c.children) for c in cells}
        for method, by_cell in measured.found.items()
    }
    return result


def table(result: Mapping[str, Any]) -> list[str]:
    """Markdown: share of right answers, a method a row."""
    cells = result["cells"]
    lines = [
        "| method | " + " | ".join(f"{n} ({c['children']} of {c['candidates']})" for n, c in cells.items()) + " |",
        "| --- |" + " ---: |" * len(cells),
    ]
    for method, right in result["right"].items():
        lines.append(f"| {method} | " + " | ".join(f"{right[n] / cells[n]['children']:.3f}" for n in cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps the models and answers")
    parser.add_argument("--quick", action="store_true", help="4 roots and one child a model later on")
    parser.add_argument("--samples", type=int, default=256, help="pictures that features are computed on")
    parser.add_argument(
        "--epochs", type=int, default=12, help="of nl-detector; its rate has shrunk to a hundredth then"
    )
    parser.add_argument(
        "--leave-out",
        nargs="*",
        default=[],
        choices=("nl-detector", "np-detector"),
        help="their training takes longest",
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    result = run(chosen.out, chosen.quick, chosen.samples, chosen.epochs, chosen.leave_out)
    print("\n".join(table(result)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
