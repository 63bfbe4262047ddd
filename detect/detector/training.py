"""Examples -> trained networks. Plain torch; the same seed gives the same weights; a run that was cut off goes on where it was.

Two networks are trained in turn. The direction network learns from pairs in line of descent who came first, and weakly from pairs of
siblings that neither did. The candidate network learns from whole families which candidate is the parent, or none, with models hidden
at random, roots above all. It reads what the direction network says, so it has to see what that says of architectures that it never saw:
the architectures are dealt into folds, and every fold is judged by a network trained on the others. These judgements also
give each network its temperature, so that the probabilities that ship are calibrated for architectures that were not in training.
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

from lineage.detect.detector.context import Context, context
from lineage.detect.detector.examples import ROOT, UNKNOWN, Example
from lineage.detect.detector.network import MEMBERS, CandidateNetwork, DirectionNetwork
from lineage.detect.detector.scoring import came_first_of
from lineage.detect.detector.tokens import ODD
from lineage.detect.tree import nearest

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the networks are trained.

    Attributes:
        members: of the direction network, see there.
        folds: into how many parts the architectures are dealt.
        layers: tokens of a pair looked at in one step; batch: pairs in one step.
        siblings: weight of a pair of siblings against one of parent and child.
        blank: share of odd numbers that are blanked, of all layers of a pair together.
        hidden: share of steps in which some models of a family are hidden; roots: of these, in which all roots are.
    """

    seed: int = 0
    members: tuple[int, ...] = MEMBERS
    folds: int = 4
    direction_steps: int = 1000
    candidate_steps: int = 800
    batch: int = 128
    layers: int = 16
    siblings: float = 0.1
    blank: float = 0.1
    certainty: float = 0.98
    hidden: float = 0.7
    roots: float = 0.3
    direction_rate: float = 3e-3
    candidate_rate: float = 2e-3
    decay: float = 0.05
    checkpoint_every: int = 250


@dataclass
class Run:
    """Where a training stands.

    Attributes:
        folder: gets checkpoints; None for none. report: told (stage, step, steps). losses: of each stage, one a step.
    """

    device: torch.device
    folder: Path | None = None
    report: Report = lambda stage, step, steps: None
    losses: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """
    Attributes:
        came_first: for each example the (m, m) log-odds that a network says which never saw the example's architecture.
        choice: the same for candidates: (m, k + 1) log-probabilities, k nearest candidates, then none.
    """

    direction: DirectionNetwork
    candidates: CandidateNetwork
    came_first: list[Tensor]
    choice: list[Tensor]


def train(
    examples: Sequence[Example], recipe: Recipe, run: Run, learn: Callable[[Example], bool] = lambda example: True
) -> Trained:
    """Both networks on the examples to learn from, calibrated on folds of architectures; the other examples are only judged."""
    parts = folds(examples, recipe.folds)
    own = [i for i, example in enumerate(examples) if learn(example)]
    odds = judged_elsewhere(examples, parts, recipe, run, set(own))
    heat = direction_temperature([examples[i] for i in own], [odds[i] for i in own])
    odds = [each / heat for each in odds]
    direction = fit_direction([examples[i] for i in own], recipe, run, "direction")
    direction.temperature.fill_(heat)
    choice = chosen_elsewhere(examples, odds, parts, recipe, run, set(own))
    warmth = choice_temperature([examples[i] for i in own], [choice[i] for i in own])
    candidates = fit_candidates([examples[i] for i in own], [odds[i] for i in own], recipe, run, "candidates")
    candidates.temperature.fill_(warmth)
    return Trained(direction, candidates, odds, [(each / warmth).log_softmax(1) for each in choice])


def folds(examples: Sequence[Example], count: int) -> list[list[int]]:
    """Indices of examples, dealt by architecture; by family where there are fewer architectures than folds."""
    kinds = sorted({example.architecture for example in examples})
    key = (lambda e: e.architecture) if len(kinds) >= count else (lambda e: e.family)
    kinds = sorted({key(example) for example in examples})
    dealt = [[i for i, e in enumerate(examples) if kinds.index(key(e)) % count == part] for part in range(count)]
    return [part for part in dealt if part]


def judged_elsewhere(
    examples: Sequence[Example], parts: Sequence[Sequence[int]], recipe: Recipe, run: Run, own: Set[int]
) -> list[Tensor]:
    """For each example (m, m) log-odds from a direction network that was trained without its part."""
    odds: dict[int, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        others = [examples[i] for i in sorted(own - set(part))]
        network = fit_direction(others, recipe, run, f"direction, fold {number}")
        odds |= {
            i: came_first_of(network, examples[i].tokens, examples[i].pairs, len(examples[i].models)) for i in part
        }
    return [odds[i] for i in range(len(examples))]


def chosen_elsewhere(
    examples: Sequence[Example],
    odds: Sequence[Tensor],
    parts: Sequence[Sequence[int]],
    recipe: Recipe,
    run: Run,
    own: Set[int],
) -> list[Tensor]:
    """For each example (m, k + 1) log-probabilities from a candidate network that was trained without its part."""
    choice: dict[int, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        others = sorted(own - set(part))
        network = fit_candidates(
            [examples[i] for i in others], [odds[i] for i in others], recipe, run, f"candidates, fold {number}"
        )
        choice |= {i: choose(network, examples[i], odds[i]) for i in part}
    return [choice[i] for i in range(len(examples))]


def fit_direction(examples: Sequence[Example], recipe: Recipe, run: Run, stage: str) -> DirectionNetwork:
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


def fit_candidates(
    examples: Sequence[Example], odds: Sequence[Tensor], recipe: Recipe, run: Run, stage: str
) -> CandidateNetwork:
    """One candidate network; odds: see `judged_elsewhere`."""
    torch.manual_seed(recipe.seed)
    network = CandidateNetwork().to(run.device)
    dice = torch.Generator().manual_seed(recipe.seed)
    often = torch.tensor([len(example.models) ** 0.5 for example in examples])

    def loss() -> Tensor:
        total, rows = torch.zeros((), device=run.device), 0
        while not rows:
            chosen = int(torch.multinomial(often, 1, generator=dice))
            kept = _hidden(examples[chosen], recipe, dice)
            asked, answers, seen = question(examples[chosen], odds[chosen], kept)
            rows = len(asked)
            if rows:
                said = _apply(network, seen, asked, run.device)
                total = F.nll_loss(said, answers.to(run.device), reduction="sum") / 3 / rows**0.5
        return total

    _fit(network, loss, dice, recipe.candidate_steps, recipe.candidate_rate, recipe, run, stage)
    return network


def question(example: Example, odds: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Context]:
    """What is asked where only some models, (m,) bool, are at hand.

    Returns:
        indices (n,) among the kept of those whose answer is known, their answers (n,): a candidate's place, or k for none, and the context.
    """
    index = kept.nonzero()[:, 0]
    gram = example.gram.only(index)
    odds = odds[index][:, index]
    candidates = nearest(gram.distances())
    seen = context(gram, example.size[index], example.related[index][:, index], odds, candidates)
    place = {int(model): i for i, model in enumerate(index)}
    asked, answers = [], []
    for i, model in enumerate(index.tolist()):
        parent = example.parent_among(model, kept)
        if parent == UNKNOWN:
            continue
        where = (candidates[i] == place[parent]).nonzero() if parent != ROOT else None
        if where is not None and not len(where):
            continue
        asked.append(i)
        answers.append(candidates.shape[1] if where is None else int(where[0, 0]))
    return torch.tensor(asked, dtype=torch.int64), torch.tensor(answers, dtype=torch.int64), seen


@torch.no_grad()
def choose(network: CandidateNetwork, example: Example, odds: Tensor, kept: Tensor | None = None) -> Tensor:
    """(m, k + 1) log-probabilities for the kept models of an example."""
    kept = torch.ones(len(example.models), dtype=torch.bool) if kept is None else kept
    _, _, seen = question(example, odds, kept)
    device = network.none.device
    return _apply(network, seen, torch.arange(int(kept.sum())), device).cpu()


def direction_temperature(examples: Sequence[Example], odds: Sequence[Tensor]) -> float:
    """What to divide log-odds by so that they are as sure as they are right, over true pairs."""
    said = torch.cat(
        [each[e.parent[e.parent >= 0], (e.parent >= 0).nonzero()[:, 0]] for e, each in zip(examples, odds, strict=True)]
    )
    return _best(lambda heat: float(F.softplus(-said / heat).mean()))


def choice_temperature(examples: Sequence[Example], choice: Sequence[Tensor]) -> float:
    """The same for the choice among candidates."""
    rows = []
    for example, said in zip(examples, choice, strict=True):
        everyone = torch.ones(len(example.models), dtype=torch.bool)
        asked, answers, _ = question(example, torch.zeros(len(example.models), len(example.models)), everyone)
        rows.append((said[asked], answers))
    return _best(
        lambda heat: sum(float(F.nll_loss((s / heat).log_softmax(1), a, reduction="sum")) for s, a in rows if len(a))
    )


def _best(loss: Callable[[float], float]) -> float:
    heats = [2 ** (i / 8) for i in range(-16, 25)]
    return min(heats, key=loss)


def _apply(network: CandidateNetwork, seen: Context, asked: Tensor, device: torch.device) -> Tensor:
    pair, third, used = (each[asked].to(device) for each in (seen.pair, seen.third, seen.used))
    said: Tensor = network(pair, third, used, torch.ones(pair.shape[:2], dtype=torch.bool, device=device))
    return said


def _hidden(example: Example, recipe: Recipe, dice: torch.Generator) -> Tensor:
    """(m,) bool: the models that are at hand in this step, two at least."""
    count = len(example.models)
    everyone = torch.ones(count, dtype=torch.bool)
    if count == 2 or float(torch.rand((), generator=dice)) > recipe.hidden:
        return everyone
    kept = torch.rand(count, generator=dice) > 0.6 * torch.rand((), generator=dice)
    if float(torch.rand((), generator=dice)) < recipe.roots:
        kept &= example.parent != ROOT
    return kept if int(kept.sum()) >= 2 else everyone


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
    run: Run,
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
        run: Run,
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
