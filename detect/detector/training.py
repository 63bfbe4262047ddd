"""Examples -> a trained network. Plain torch; the same seed gives the same weights; a run that was cut off goes on where it was.

The direction network learns from pairs in line of descent which came first, and weakly from pairs of siblings that neither did. The
architectures are dealt into folds, and every fold is judged by a network trained on the others. These judgements give the network its
temperature, so that the probabilities that ship are calibrated for architectures that were not in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lineage.detect.detector.examples import Example
from lineage.detect.detector.network import MEMBERS, DirectionNetwork
from lineage.detect.detector.scoring import came_first_of
from lineage.detect.detector.tokens import ODD

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the network is trained.

    Attributes:
        members: of the direction network, see there.
        folds: into how many parts the architectures are dealt.
        layers: tokens of a pair looked at in one step; batch: pairs in one step.
        siblings: weight of a pair of siblings against one of parent and child.
        blank: share of odd numbers that are blanked, of all layers of a pair together.
    """

    seed: int = 0
    members: tuple[int, ...] = MEMBERS
    folds: int = 4
    direction_steps: int = 1000
    batch: int = 128
    layers: int = 16
    siblings: float = 0.1
    blank: float = 0.1
    certainty: float = 0.98
    direction_rate: float = 3e-3
    decay: float = 0.05
    checkpoint_every: int = 250


@dataclass
class TrainingRun:
    """Where a training stands.

    Attributes:
        folder: gets checkpoints; None for none. report: called with (stage, step, steps). losses: of each stage, one a step.
    """

    device: torch.device
    folder: Path | None = None
    report: Report = lambda stage, step, steps: None
    losses: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """
    Attributes:
        came_first: for each example (m, m), [child, parent]: log-odds that the parent came first, from a network that never saw the
            example's architecture.
    """

    direction: DirectionNetwork
    came_first: list[Tensor]


def train(
    examples: Sequence[Example],
    recipe: Recipe,
    run: TrainingRun,
    learn: Callable[[Example], bool] = lambda example: True,
) -> TrainingResult:
    """A network on the examples to learn from, calibrated on folds of architectures; the other examples are only judged."""
    parts = folds(examples, recipe.folds)
    own = [i for i, example in enumerate(examples) if learn(example)]
    odds = judged_elsewhere(examples, parts, recipe, run, set(own))
    heat = direction_temperature([examples[i] for i in own], [odds[i] for i in own])
    odds = [each / heat for each in odds]
    direction = fit_direction([examples[i] for i in own], recipe, run, "direction")
    direction.temperature.fill_(heat)
    return TrainingResult(direction, odds)


def folds(examples: Sequence[Example], count: int) -> list[list[int]]:
    """Indices of examples, dealt by architecture; by family where there are fewer architectures than folds."""
    kinds = sorted({example.architecture for example in examples})
    key = (lambda e: e.architecture) if len(kinds) >= count else (lambda e: e.family)
    kinds = sorted({key(example) for example in examples})
    dealt = [[i for i, e in enumerate(examples) if kinds.index(key(e)) % count == part] for part in range(count)]
    return [part for part in dealt if part]


def judged_elsewhere(
    examples: Sequence[Example], parts: Sequence[Sequence[int]], recipe: Recipe, run: TrainingRun, own: Set[int]
) -> list[Tensor]:
    """For each example (m, m) log-odds, [child, parent], from a direction network that was trained without its part."""
    odds: dict[int, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        others = [examples[i] for i in sorted(own - set(part))]
        network = fit_direction(others, recipe, run, f"direction, fold {number}")
        odds |= {
            i: came_first_of(network, examples[i].tokens, examples[i].pairs, len(examples[i].models)) for i in part
        }
    return [odds[i] for i in range(len(examples))]


def fit_direction(examples: Sequence[Example], recipe: Recipe, run: TrainingRun, stage: str) -> DirectionNetwork:
    """One direction network on all pairs of the examples that are related, its members one after the other."""
    torch.manual_seed(recipe.seed)
    pool = _Pool.of(examples, recipe)
    network = DirectionNetwork(members=recipe.members).to(run.device)
    for number, member in enumerate(network.members):
        torch.manual_seed(recipe.seed + number)  # whatever the members before it have drawn
        dice = torch.Generator().manual_seed(recipe.seed + number)
        loss = partial(_direction_loss, member, pool, recipe, run.device, dice)
        name = f"{stage}, member {number + 1}"
        _fit(member, loss, dice, recipe.direction_steps, recipe.direction_rate, recipe, run, name)
    return network.eval()


def _direction_loss(
    member: nn.Module, pool: _Pool, recipe: Recipe, device: torch.device, dice: torch.Generator
) -> Tensor:
    odd, even, answer = pool.draw(recipe.batch, recipe.layers, dice)
    keep = torch.rand(odd.shape[:2], generator=dice) < torch.rand(len(odd), 1, generator=dice) * 0.9 + 0.1
    keep[:, 0] = True
    odd = odd * (torch.rand(len(odd), 1, odd.shape[2], generator=dice) > recipe.blank)
    said = member(odd.to(device), even.to(device), keep.to(device))
    return F.binary_cross_entropy_with_logits(said, (0.5 + (recipe.certainty - 0.5) * answer).to(said))


def direction_temperature(examples: Sequence[Example], odds: Sequence[Tensor]) -> float:
    """What to divide log-odds by so that they are as sure as they are right, over true pairs."""
    said = torch.cat(
        [each[(e.parent >= 0).nonzero()[:, 0], e.parent[e.parent >= 0]] for e, each in zip(examples, odds, strict=True)]
    )
    return _best(lambda heat: float(F.softplus(-said / heat).mean()))


def _best(loss: Callable[[float], float]) -> float:
    heats = [2 ** (i / 8) for i in range(-16, 25)]
    return min(heats, key=loss)


@dataclass(frozen=True, slots=True)
class _Pool:
    """Tokens of many pairs in one row. first, count: (n,) of each pair; answer: (n,) 1, 0 or -1; often: (n,) how often it is drawn."""

    tokens: Tensor
    first: Tensor
    count: Tensor
    answer: Tensor
    often: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example], recipe: Recipe) -> _Pool:
        found, counts, answers, weights = [], [], [], []
        for example in examples:
            answer, weight = _answers(example, recipe.siblings)
            chosen = (weight > 0) & example.tokens.present.any(1)
            present = example.tokens.present[chosen]
            both = torch.cat([example.tokens.odd[chosen], example.tokens.even[chosen]], 2)
            found.append(both[present].half())
            counts.append(present.sum(1))
            answers.append(answer[chosen])
            total = weight[chosen].sum().clamp(min=1)
            weights.append(weight[chosen] / total.sqrt())  # a family counts by the square root of its pairs
        count = torch.cat(counts)
        return cls(torch.cat(found), count.cumsum(0) - count, count, torch.cat(answers), torch.cat(weights))

    def draw(self, pairs: int, layers: int, dice: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Odd (pairs, layers, o), even (pairs, layers, e), answers (pairs,); layers are drawn with repetition."""
        chosen = torch.multinomial(self.often, pairs, replacement=True, generator=dice)
        place = (torch.rand(pairs, layers, generator=dice) * self.count[chosen][:, None]).long()
        drawn = self.tokens[place + self.first[chosen][:, None]].float()
        return drawn[..., : len(ODD)], drawn[..., len(ODD) :], self.answer[chosen]


def _answers(example: Example, siblings: float) -> tuple[Tensor, Tensor]:
    """For each pair: 1 if the first is an ancestor, -1 if the second is, 0 if they share a root; and the weight, 0 if unknown."""
    lines = [example.ancestors(model) for model in range(len(example.models))]
    answer, weight = [], []
    for a, b in example.pairs.tolist():
        (above_a, root_a), (above_b, root_b) = lines[a], lines[b]
        down, up = a in above_b, b in above_a
        answer.append(float(down) - float(up))
        if down or up:
            weight.append(1.0 if a in above_b[:1] or b in above_a[:1] else 0.5)
        else:
            weight.append(siblings if root_a is not None and root_a == root_b else 0.0)
    return torch.tensor(answer), torch.tensor(weight)


def _fit(
    network: nn.Module,
    loss: Callable[[], Tensor],
    dice: torch.Generator,
    steps: int,
    rate: float,
    recipe: Recipe,
    run: TrainingRun,
    stage: str,
) -> None:
    """AdamW with one cycle of the learning rate; bfloat16 in forward passes on CUDA; leaves the network in evaluation mode."""
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    keeper = _Keeper(network, optimiser, schedule, dice, run, stage, replace(recipe, checkpoint_every=0))
    curve, begin = keeper.load()
    network.train()
    for step in range(begin, steps):
        with torch.autocast(run.device.type, torch.bfloat16, enabled=run.device.type == "cuda"):
            value = loss()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        schedule.step()
        curve.append(float(value.detach()))
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == steps:
            keeper.save(curve, step + 1)
        run.report(stage, step + 1, steps)
    run.losses[stage] = curve
    network.eval()


class _Keeper:
    """One stage's checkpoint: everything that the next step depends on."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: Any,
        schedule: Any,
        dice: torch.Generator,
        run: TrainingRun,
        stage: str,
        recipe: Recipe,
    ):
        self.network, self.optimiser, self.schedule, self.dice, self.device = (
            network,
            optimiser,
            schedule,
            dice,
            run.device,
        )
        name = "".join(c if c.isalnum() else "-" for c in stage)
        self.path = run.folder / f"{name}.pt" if run.folder else None
        self.recipe = repr(recipe)

    def load(self) -> tuple[list[float], int]:
        """The loss curve so far and the step to go on from; ([], 0) where there is no checkpoint of this recipe."""
        if not self.path or not self.path.exists():
            return [], 0
        kept = torch.load(self.path, weights_only=True, map_location="cpu")
        if kept["recipe"] != self.recipe:
            return [], 0
        self.network.load_state_dict(kept["network"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.schedule.load_state_dict(kept["schedule"])
        self.dice.set_state(kept["dice"])
        torch.set_rng_state(kept["random"])
        if self.device.type == "cuda" and kept["cuda"] is not None:
            torch.cuda.set_rng_state(kept["cuda"], self.device)
        return list(kept["curve"]), int(kept["step"])

    def save(self, curve: list[float], step: int) -> None:
        if not self.path:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "dice": self.dice.get_state(),
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "curve": curve,
            "step": step,
            "recipe": self.recipe,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)


@contextmanager
def one_thread() -> Iterator[None]:
    """Small products gain nothing from more threads, and sums in one order are the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
