"""Neural Phylogeny's own test, smaller: parents on one set, children on others, who is whose? All methods of weights on the same models.

    LINEAGE_DATASETS=FOLDER python -m bench.papers.neural_phylogeny --out FOLDER [--quick]

Networks: fully connected 784-1024-256-128-10; three convolutions and two layers (grey, and colour); a small residual network; a small
vision transformer. Recipe of the paper (Yu & Wang, ICLR 2025): parents on MNIST (CIFAR-10 for the colour variant), Adam, two learning rates
x two batch sizes x Kaiming uniform and normal; children on Fashion-MNIST, notMNIST letters, CIFAR-10, three learning rates x two batch
sizes. Smaller here: 10,000 pictures a set and batches an eighth of the paper's (32 and 128), so that an epoch has its number of steps, but
500 steps instead of 50 epochs for parents and 250 instead of 30 epochs for children (quick: 120 and 60);
8 parents with 6 children each instead of 64 with 24.
Every method runs on the whole zoo and on random halves of it, the published ones with every seed, alpha and start as well: mean ± standard
deviation (worst). "told": the true number of clusters, or the largest norm of a parent, which ours is never told.
np-detector is trained on all parents and 70 % of their children and tested on the parents and the rest, as in the paper; so it knows the
parents. A folder that is there is used again; its models are not trained twice.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.datasets import from_environment
from bench.families import read_sketches, read_truth
from bench.papers.kept import KeptAnswers
from bench.papers.scores import Score, score, spread
from bench.papers.trained import STARTS, PlannedNetwork, Zoo, build_zoo
from bench.zoo.architectures import Network, build
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.methods.np_detector import FamilyCrops, PhylogenyPlan, save, train
from lineage.detect.methods.registry import PLAIN, decide_with
from lineage.detect.methods.values import coordinates, distances, layers_of, one_layer, some_values
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.graphdb.schema import Failure

BUDGET_VALUES = 1 << 21  # every model is compared whole
CPU = torch.device("cpu")
CHILD_SETS = ("fashion", "letters", "cifar")


class PaperFc(Network):
    """784-1024-256-128-10."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 1024), nn.Linear(1024, 256)
        self.fc3, self.fc4 = nn.Linear(256, 128), nn.Linear(128, 10)
        self.stages = ("fc1.", "fc2.", "fc3.", "fc4.")

    def forward(self, x: Tensor) -> Tensor:
        return self.fc4(F.relu(self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))))


class PaperConv(Network):
    """Three convolutions, two fully connected layers."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, 10)
        self.stages = ("conv1.", "conv2.", "conv3.", "fc1.", "fc2.")

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.conv1, self.conv2, self.conv3):
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def resnet() -> Network:
    return build("resnet", 10, {"channels": 1, "width": 16, "depths": (1, 1, 1)}, 0)


def vit() -> Network:
    return build("vit", 10, {"channels": 1, "width": 48, "depth": 3, "heads": 3}, 0)


def zoos(quick: bool) -> dict[str, Zoo]:
    """Name -> plan. Transformers diverge at the learning rate 0.01 with Adam: theirs are a third."""
    return {
        "fc": Zoo(PaperFc, 28, 1, planned("mnist", 1.0, quick)),
        "conv": Zoo(lambda: PaperConv(1), 16, 1, planned("mnist", 1.0, quick)),
        "conv-colour": Zoo(lambda: PaperConv(3), 16, 3, planned("cifar", 1.0, quick)),
        "resnet": Zoo(resnet, 16, 1, planned("mnist", 1.0, quick)),
        "vit": Zoo(vit, 16, 1, planned("mnist", 0.3, quick)),
    }


def planned(source: str, rate: float, quick: bool) -> tuple[PlannedNetwork, ...]:
    parents: list[PlannedNetwork] = []
    parent_steps, child_steps = (120, 60) if quick else (500, 250)
    for place, (lr, batch, start) in enumerate(
        (lr, batch, start) for lr in (0.01, 0.001) for start in STARTS for batch in (32, 128)
    ):
        if quick and place % 2 != place // 4:
            continue  # half of them: each learning rate with each start once
        name = f"p{place}"
        steps = parent_steps
        parents.append(PlannedNetwork(name, None, 0, source, "adam", lr * rate, batch, steps, 100 + place, start))
    children = []
    sets = [name for name in CHILD_SETS if name != source]
    for parent in parents:
        grid = [(lr, batch) for lr in (0.01, 0.001, 0.0001) for batch in (32, 128)]
        for k, (lr, batch) in enumerate(grid):
            seed = 1000 + 100 * int(parent.id[1:]) + k
            which = sets[(k + int(parent.id[1:])) % len(sets)]
            children.append(
                PlannedNetwork(
                    f"{parent.id}-c{k:02d}", parent.id, 1, which, "adam", lr * rate, batch, child_steps, seed
                )
            )
    return (*parents, *children)


def settings_grid(
    subjects: Sequence[Subject], truth: Mapping[str, str | None], quick: bool
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(row, method, settings) of every run of a learning-free method on these models."""
    seeds = range(2 if quick else 3)
    count = str(sum(parent is None for parent in truth.values()))
    layers = layers_of("np-kmeans", subjects, CPU)
    values = some_values("np-kmeans", layers)
    norms = dict(zip((s.id for s in subjects), values.square().sum(1).sqrt().tolist(), strict=True))
    largest = max(norms[name] for name, parent in truth.items() if parent is None)
    apart = distances(coordinates(values))
    near = float(apart.fill_diagonal_(torch.inf).min(1).values.median())
    for start in STARTS:
        for seed in map(str, seeds):
            base = {"seed": seed, "start": start}
            for tensor in ("auto", "all") if seed == "0" else ("auto",):
                sees = {**base, "tensor": tensor, "draws": "100" if tensor == "auto" else "1"}
                where = "" if tensor == "auto" else ", all values"
                yield f"np-kmeans after, told{where}", "np-kmeans", {**sees, "clusters": count}
                for alpha in ("0.75", "0.5", "0.25", "0") if tensor == "auto" else ("0.5", "0"):
                    along = {**sees, "clusters": count, "alpha": alpha}
                    if tensor == "auto":
                        along["norm_at_most"] = str(largest * 1.000001)
                    yield f"np-kmeans along, told{where}", "np-kmeans", along
            yield "np-kmeans after", "np-kmeans", base
            yield "np-kmeans along", "np-kmeans", {**base, "alpha": "0.5"}
            yield "np-gmm after, told", "np-gmm", {**base, "clusters": count}
            for bandwidth in ("1.0", "0"):
                yield "np-meanshift after", "np-meanshift", {**base, "bandwidth": bandwidth}
                for alpha in ("0.5", "0"):
                    yield "np-meanshift along", "np-meanshift", {**base, "bandwidth": bandwidth, "alpha": alpha}
        for eps in (0.5, near, 1.5 * near, 2 * near):
            yield "np-dbscan after", "np-dbscan", {"start": start, "eps": str(eps), "neighbours": "2"}
    for stage in ("specialisation", "generalisation"):
        yield f"mother, {stage}, told", "mother", {"layers": "all", "trees": count, "stage": stage}
    yield "mother, specialisation", "mother", {"layers": "all"}
    for name in ("nearest", "min-norm", "effective-rank", "kurtosis"):
        yield name, name, {}
    yield "kurtosis, lower", "kurtosis", {"parent": "lower"}


def parents_of(method: str, subjects: Sequence[Subject], settings: Mapping[str, str]) -> dict[str, str | None]:
    """What a method says; nothing about a model that it cannot decide about."""
    try:
        decisions = decide_with(method, subjects, Options(dates=False, declared=False, settings=settings), CPU)
    except Failure:
        return {}
    return {d.model: d.parent for d in decisions if d.answer is not AnswerKind.UNDECIDED}


def ours(subjects: Sequence[Subject]) -> dict[str, dict[str, str | None]]:
    """Row -> what `lineage` says, and what it would say without its right to say nothing."""
    decisions = decide_with(PLAIN, subjects, Options(dates=False, declared=False), CPU)
    return {
        PLAIN: {d.model: d.parent for d in decisions if d.answer is not AnswerKind.UNDECIDED},
        f"{PLAIN}, always answering": {d.model: most_probable(d) for d in decisions},
    }


def most_probable(decision: Decision) -> str | None:
    """The answer; where there is none, the likeliest candidate, or None where no candidate at all is likelier."""
    if decision.answer is not AnswerKind.UNDECIDED:
        return decision.parent
    best = max(decision.candidates, key=lambda c: c.probability, default=None)
    nobody = 1 - sum(c.probability for c in decision.candidates)
    return best.parent if best and best.probability >= nobody else None


def halves(truth: Mapping[str, str | None], count: int, seed: int) -> list[dict[str, str | None]]:
    """The whole, and random choices of three quarters of the parents (three at least), each with half of its children."""
    chosen = [dict(truth)]
    dice = random.Random(seed)
    roots = [name for name, parent in truth.items() if parent is None]
    for _ in range(count):
        kept = dice.sample(roots, max(3, 3 * len(roots) // 4))
        part: dict[str, str | None] = {}
        for root in kept:
            own = [name for name, parent in truth.items() if parent == root]
            part |= {root: None} | dict.fromkeys(dice.sample(own, -(-len(own) // 2)), root)
        chosen.append({name: truth[name] for name in truth if name in part})
    return chosen


def run(folder: Path, quick: bool) -> dict[str, list[Score]]:
    """Row -> scores of all its runs on one zoo."""
    known = read_truth(folder)
    sketches = read_sketches(folder, BUDGET_VALUES)
    truth: dict[str, str | None] = {name: known.parent.get(name) for name in sketches}
    rows: dict[str, list[Score]] = {}
    kept = KeptAnswers(folder)
    for part in halves(truth, 1 if quick else 2, 0):
        subjects = [Subject(name, sketches[name]) for name in part]
        looked_at = one_layer("np-kmeans", layers_of("np-kmeans", subjects, CPU)).name
        thin = [
            replace(s, sketch=replace(s.sketch, samples={looked_at: s.sketch.samples[looked_at]})) for s in subjects
        ]
        for row, method, settings in settings_grid(thin, part, quick):
            seen = (
                thin if method.startswith("np-") and settings.get("tensor") != "all" else subjects
            )  # quicker, the same
            asked = {**settings, "models": list(part), "values": BUDGET_VALUES}
            said = kept.parents(method, asked, lambda m=method, s=seen, o=settings: parents_of(m, s, o))
            rows.setdefault(row, []).append(score(part, said))
        for row, said in ours(subjects).items():
            rows.setdefault(row, []).append(score(part, said))
        kept.write()
    for part, found in detector_runs(truth, sketches, quick, kept):
        for row, said in found.items():
            rows.setdefault(row, []).append(score(part, said))
    kept.write()
    return rows


def detector_runs(
    truth: Mapping[str, str | None], sketches: Mapping[str, Any], quick: bool, kept: KeptAnswers
) -> Iterator[tuple[dict[str, str | None], dict[str, dict[str, str | None]]]]:
    """(tested models, row -> what is said of them), each run with its own split of the children. The loss of the released code takes
    soft-max twice, the paper's formula once; the quick run has the first alone."""
    losses = {"np-detector, parents known": True} | (
        {} if quick else {"np-detector, parents known, soft-max once": False}
    )
    for seed in range(1 if quick else 3):
        dice = random.Random(seed)
        learned: list[str] = []
        for root in (name for name, parent in truth.items() if parent is None):
            own = [name for name, parent in truth.items() if parent == root]
            learned += dice.sample(own, round(0.7 * len(own)))
        seen = [name for name, parent in truth.items() if parent is None or name in learned]
        place = {name: i for i, name in enumerate(seen)}
        parent = tuple(place[truth[name] or name] for name in seen)
        family = FamilyCrops(tuple(Subject(n, sketches[n]) for n in seen), parent)
        part = {name: parent for name, parent in truth.items() if name not in learned}
        subjects = [Subject(name, sketches[name]) for name in part]
        found = {"lineage, on np-detector's test": parents_of(PLAIN, subjects, {})}
        for row, twice in losses.items():
            plan = PhylogenyPlan(epochs=20, samples_an_epoch=25, seed=seed, softmax_twice=twice)
            asked = {**asdict(plan), "learned": seen, "models": list(part), "values": BUDGET_VALUES}
            found[row] = kept.parents(
                "np-detector", asked, lambda f=family, p=plan, s=subjects: by_np_detector(f, p, s)
            )
        yield part, found


def by_np_detector(family: FamilyCrops, plan: PhylogenyPlan, subjects: Sequence[Subject]) -> dict[str, str | None]:
    """What a detector that learned from one family says of these models."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.safetensors"
        save(train([family], plan, CPU), plan, path)
        return parents_of("np-detector", subjects, {"file": str(path)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the models; used again if it is there")
    parser.add_argument("--quick", action="store_true", help="half of the parents and fewer runs")
    parser.add_argument("--only", nargs="*", help="of the networks, only these")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = from_environment()
    told: dict[str, Any] = {"data": data.source, "quick": arguments.quick}
    print("| network | method | overall | lineage | direction | runs |\n| --- | --- | --- | --- | --- | ---: |")
    for name, zoo in zoos(arguments.quick).items():
        if arguments.only and name not in arguments.only:
            continue
        folder = arguments.out / (f"{name}-quick" if arguments.quick else name)
        began = time.monotonic()
        build_zoo(folder, zoo, data)
        trained = time.monotonic() - began
        rows = run(folder, arguments.quick)
        result: dict[str, Any] = {"models": len(zoo.models), "training_s": round(trained, 1)}
        for row, scores in sorted(rows.items(), key=lambda item: -spread([s.overall for s in item[1]]).mean):
            kinds = {kind: spread([getattr(s, kind) for s in scores]) for kind in ("overall", "lineage", "direction")}
            cells = " | ".join(kinds[kind].text() for kind in kinds)
            print(f"| {name} | {row} | {cells} | {len(scores)} |", flush=True)
            result[row] = {kind: asdict(value) for kind, value in kinds.items()}
        result["seconds"] = round(time.monotonic() - began, 1)
        told[name] = result
    print(json.dumps(told))


if __name__ == "__main__":
    main()
