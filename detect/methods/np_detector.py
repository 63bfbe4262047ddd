"""Neural Phylogeny's phylogeny detector: a small network that sees every pair of models as a picture (Yu & Wang, ICLR 2025,
https://openreview.net/forum?id=jv2zHOalpL).

Of each model the first 32 x 32 values of one matrix. Every ordered pair is a picture of two channels (candidate parent, model); a 3 x 3
convolution to 32 channels, batch norm, ReLU and the mean over the picture make an edge of 32 numbers; transformer layers over all edges,
if any; one number an edge, and soft-max over the candidates of each model, itself among them: who chooses itself is a root.
Trained on samples of 3 parents with 3 children each, Adam at 0.01, times 0.7 after every epoch. The released code applies soft-max twice
in the loss (`softmax_twice`), the formula once. N models in a sample, E channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lineage.detect.decision import Decision
from lineage.detect.methods.registry import BadSetting, settings_of
from lineage.detect.methods.to_decisions import CannotTake, as_decisions
from lineage.detect.methods.values import AUTO, layers_of, one_layer
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.graphdb.schema import Failure

NAME = "np-detector"
SIDE = 32
PARENTS, CHILDREN = 3, 3  # of a sample
AT_ONCE = 1 << 15  # edges that are computed together


class BadPhylogenyDetector(Failure):
    """A file that holds no detector of this kind."""


@dataclass(frozen=True, slots=True)
class PhylogenyPlan:
    """How a detector is built and trained. tensor: canonical name of the matrix that it looks at, or `auto`."""

    width: int = 32
    transformers: int = 0
    tensor: str = AUTO
    epochs: int = 100
    samples_an_epoch: int = 50
    learning_rate: float = 0.01
    shrink: float = 0.7
    softmax_twice: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FamilyCrops:
    """Models of one architecture with known parents. parent: for each subject the index of its parent, its own for a root."""

    subjects: tuple[Subject, ...]
    parent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """All models of one architecture. crops: see `crops`; children: parent -> its children, for parents that have some."""

    crops: Tensor
    children: dict[int, list[int]]


class PhylogenyDetector(nn.Module):
    def __init__(self, width: int, transformers: int):
        super().__init__()
        self.encode = nn.Conv2d(2, width, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.attend = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 1, 2 * width, 0.0, batch_first=True, norm_first=True)
            for _ in range(transformers)
        )
        self.score = nn.Linear(width, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 32, 32) -> (N, N) float32 logits [model, candidate parent]."""
        count = crops.shape[0]
        model = torch.arange(count, device=crops.device).repeat_interleave(count)
        parent = torch.arange(count, device=crops.device).repeat(count)
        edges = [
            F.relu(self.norm(self.encode(torch.stack([crops[p], crops[m]], 1)))).mean((2, 3))  # (edges, E)
            for p, m in zip(parent.split(AT_ONCE), model.split(AT_ONCE), strict=True)
        ]
        tokens = torch.cat(edges)[None]  # (1, N*N, E)
        for layer in self.attend:
            tokens = layer(tokens)
        return self.score(tokens[0]).reshape(count, count)


def crops(subjects: Sequence[Subject], tensor: str, device: torch.device, fewest: int = 2) -> Tensor:
    """(m, 32, 32) float32: the first values of the first units of one matrix, zeros where it is smaller.

    Raises:
        CannotTake: too few models, no comparable values, no such tensor.
    """
    layer = one_layer(NAME, layers_of(NAME, subjects, device, fewest), tensor)
    cut = layer.values[:, :SIDE, :SIDE]
    return F.pad(cut, (0, SIDE - cut.shape[2], 0, SIDE - cut.shape[1]))


def train(families: Sequence[FamilyCrops], plan: PhylogenyPlan, device: torch.device) -> PhylogenyDetector:
    """
    Args:
        families: of one architecture or several; families of one architecture are mixed in a sample.
    Raises:
        CannotTake: no architecture has three parents with a child each.
    """
    return fit(list(_pools(families, plan.tensor, device)), plan, device)


def fit(pools: Sequence[Pool], plan: PhylogenyPlan, device: torch.device) -> PhylogenyDetector:
    """
    Raises:
        CannotTake: no pool has three parents with a child each.
    """
    torch.manual_seed(plan.seed)
    random = torch.Generator().manual_seed(plan.seed)
    pools = [pool for pool in pools if len(pool.children) >= PARENTS]
    if not pools:
        raise CannotTake(
            f"{NAME}: to train, an architecture needs {PARENTS} parents that have children", "add families"
        )
    network = PhylogenyDetector(plan.width, plan.transformers).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), plan.learning_rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1, plan.shrink)
    for _ in range(plan.epochs):
        for pool, models, parents in _samples(pools, plan.samples_an_epoch, random):
            logits = network(pool.crops[models])
            rows = logits.softmax(1) if plan.softmax_twice else logits
            loss = F.cross_entropy(rows, parents.to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return network.eval()


def _pools(families: Sequence[FamilyCrops], tensor: str, device: torch.device) -> Iterator[Pool]:
    by_signature: dict[str, list[FamilyCrops]] = {}
    for family in families:
        by_signature.setdefault(family.subjects[0].sketch.signature, []).append(family)
    for group in by_signature.values():
        subjects = [s for family in group for s in family.subjects]
        children: dict[int, list[int]] = {}
        first = 0
        for family in group:
            for child, parent in enumerate(family.parent):
                if child != parent:
                    children.setdefault(first + parent, []).append(first + child)
            first += len(family.subjects)
        if len(children) >= PARENTS:
            yield Pool(crops(subjects, tensor, device), children)


def _samples(pools: Sequence[Pool], count: int, random: torch.Generator) -> Iterator[tuple[Pool, Tensor, Tensor]]:
    """(pool, (N,) models, (N,) index of each one's parent among them); parents point to themselves."""
    for _ in range(count):
        pool = pools[int(torch.randint(len(pools), (), generator=random))]
        known = list(pool.children)
        models: list[int] = []
        parents: list[int] = []
        for k in torch.randperm(len(known), generator=random)[:PARENTS].tolist():
            own = pool.children[known[k]]
            place = len(models)
            drawn = torch.randperm(len(own), generator=random)[:CHILDREN].tolist()
            models += [known[k], *(own[i] for i in drawn)]
            parents += [place] * (1 + len(drawn))
        order = torch.randperm(len(models), generator=random)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        yield pool, torch.tensor(models)[order], back[torch.tensor(parents)[order]]


def save(network: PhylogenyDetector, plan: PhylogenyPlan, path: Path) -> None:
    """Weights and plan in one safetensors file."""
    from safetensors.torch import save_file

    tensors = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    save_file(tensors, path, {"kind": NAME, "plan": json.dumps(asdict(plan))})


def load(path: Path, device: torch.device) -> tuple[PhylogenyDetector, PhylogenyPlan]:
    """
    Raises:
        BadDetector: the file is no such detector.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != NAME:
                raise BadPhylogenyDetector(f"{path} is no {NAME}", f"train one: lineage train {NAME} ZOO")
            plan = PhylogenyPlan(**json.loads(metadata["plan"]))
            network = PhylogenyDetector(plan.width, plan.transformers).to(device)
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadPhylogenyDetector(
            f"{path} cannot be read as a {NAME}: {error}", f"train one: lineage train {NAME} ZOO"
        ) from None
    return network.eval(), plan


def decide(subjects: Sequence[Subject], options: Options, device: torch.device) -> list[Decision]:
    settings = settings_of(NAME, options.settings)
    if not settings["file"]:
        raise BadSetting(
            f"method {NAME} needs a trained network",
            f"lineage train {NAME} ZOO makes one; then --method-option file=FILE",
        )
    network, plan = load(Path(settings["file"]).expanduser(), device)
    with torch.inference_mode():
        chance = network(crops(subjects, plan.tensor, device)).softmax(1).cpu()  # (m, m)
    best = chance.max(1)
    parents = [None if i == p else p for i, p in enumerate(best.indices.tolist())]
    candidates = [
        [(j, round(float(row[j]), 4)) for j in row.topk(min(4, len(row))).indices.tolist() if j != i]
        for i, row in enumerate(chance)
    ]
    probability = best.values.tolist()
    return as_decisions(NAME, subjects, parents, probability, candidates)
