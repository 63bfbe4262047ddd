"""A small family of models with known lineage, really trained on scikit-learn's digits (1,797 pictures of 8 x 8).

Comes in: a folder and a seed. Comes out: below the folder one publishable repository `org/name` for each model (card,
config.json, safetensors) and `truth.json`: who was trained from whom. The plan is the table `PLAN` below: two families
of three and four generations, siblings, one exact copy, one stranger of the same architecture, one of another.
A demonstration, not a measure of accuracy: steps are so many, and learning rates such, that each child moves clearly.

Letters of shapes: n pictures of a batch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, mse_loss

if TYPE_CHECKING:
    from tests.fake_hub import FakeHub

BATCH = 64
HELD_OUT = 297  # pictures that no training sees
UPLOADED = datetime(2025, 3, 1, 20, 0, tzinfo=UTC)  # one evening: the dates say nothing about who came first
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    Attributes:
        task: which digits, seen how, with which labels; words that `_see` knows, none for the digits as they are.
        weight_decay: AdamW's decoupled decay, or SGD's penalty.
    """

    task: str
    epochs: int
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01


@dataclass(frozen=True)
class PlannedModel:
    """One line of the plan.

    Attributes:
        parent: repository that training starts from, or that is copied; None starts from random values.
        recipe: None copies the parent's files.
        declared: what the card claims as base; None claims nothing.
        storage: `single`, `sharded` (two files with an index) or `bfloat16`.
    """

    repo_id: str
    architecture: str
    parent: str | None
    recipe: Recipe | None
    declared: str | None = None
    storage: str = "single"


MLP, CONV = "acme/digits-mlp", "acme/digits-conv"
# fmt: off
PLAN = (
    PlannedModel(MLP, "mlp", None, Recipe("", 60, learning_rate=2e-3)),
    PlannedModel(f"{MLP}-rotated", "mlp", MLP, Recipe("rotated", 40, learning_rate=4e-4), MLP),
    PlannedModel(f"{MLP}-noisy", "mlp", MLP, Recipe("noisy", 40, learning_rate=8e-4), MLP),
    PlannedModel("birch/digits-mlp-inverted", "mlp", MLP, Recipe("inverted", 40, "sgd", 0.005, 1e-4), MLP),
    PlannedModel(f"{MLP}-rotated-parity", "mlp", f"{MLP}-rotated", Recipe("rotated parity", 40), f"{MLP}-rotated"),
    PlannedModel("cedar/low-digits", "mlp", f"{MLP}-rotated", Recipe("rotated low", 40, learning_rate=2e-3), None, "bfloat16"),
    PlannedModel("birch/mirrored-digits", "mlp", f"{MLP}-noisy", Recipe("mirrored", 40, learning_rate=3e-4), "birch/digits-mlp-inverted"),
    PlannedModel("elm/noisy-digits-reupload", "mlp", f"{MLP}-noisy", None, f"{MLP}-noisy"),
    PlannedModel("dune/digits-from-scratch", "mlp", None, Recipe("", 60, learning_rate=2e-3)),
    PlannedModel(CONV, "conv", None, Recipe("", 15, learning_rate=2e-3), storage="sharded"),
    PlannedModel(f"{CONV}-noisy", "conv", CONV, Recipe("noisy", 12), CONV),
    PlannedModel("birch/digits-conv-inverted", "conv", CONV, Recipe("inverted", 12, "sgd", 0.02, 1e-4), CONV),
    PlannedModel(f"{CONV}-rotated", "conv", CONV, Recipe("rotated", 18, learning_rate=1.5e-3), CONV),
    PlannedModel(f"{CONV}-rotated-parity", "conv", f"{CONV}-rotated", Recipe("rotated parity", 12, learning_rate=7e-4), f"{CONV}-rotated"),
    PlannedModel("cedar/parity-mirrored", "conv", f"{CONV}-rotated-parity", Recipe("mirrored parity", 12), f"{CONV}-rotated-parity"),
    PlannedModel("fern/digits-autoencoder", "autoencoder", None, Recipe("rebuild", 40, learning_rate=2e-3)),
)
# fmt: on


@dataclass(frozen=True)
class TrueModel:
    """What is true of one published model.

    Attributes:
        relation: `FINE_TUNED_FROM`, `COPY_OF`, or None for a root.
        declared: the base that its card claims, rightly or not.
        distance: |child - parent| / |parent| over all weights, None for a root.
        accuracy: share of held-out pictures named rightly in the model's own task; None for the autoencoder.
        values: number of weights.
    """

    id: str
    parent: str | None
    relation: str | None
    declared: str | None
    architecture: str
    distance: float | None
    accuracy: float | None
    values: int


@dataclass(frozen=True)
class Truth:
    """The family as it really is."""

    seed: int
    models: tuple[TrueModel, ...]

    def parents(self) -> dict[str, str | None]:
        """Repository -> the one it comes from."""
        return {model.id: model.parent for model in self.models}


def train_family(folder: Path, seed: int = 0, progress: Progress | None = None, *, effort: float = 1.0) -> Truth:
    """Train every model of the plan and write it as a repository folder; the same seed gives the same weights.

    Args:
        folder: is created; existing repositories of the same names are replaced.
        progress: called as (models done, models in all, name of the next one).
        effort: share of the planned epochs, at least one each; 1 takes about 25 s on one core.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[TrueModel] = []
    with _one_thread():
        for done, planned in enumerate(PLAN):
            if progress is not None:
                progress(done, len(PLAN), planned.repo_id)
            found.append(_make(folder, planned, seed, effort))
    if progress is not None:
        progress(len(PLAN), len(PLAN), "")
    truth = Truth(seed, tuple(found))
    (folder / "truth.json").write_text(json.dumps(asdict(truth), indent=2) + "\n")
    return truth


def read_truth(folder: Path) -> Truth:
    """What `train_family` wrote into the folder."""
    raw = json.loads((folder / "truth.json").read_text())
    return Truth(raw["seed"], tuple(TrueModel(**model) for model in raw["models"]))


def publish(folder: Path, hub: FakeHub, *, dated: bool = False) -> Truth:
    """Put every repository of the folder on the Hub.

    Args:
        dated: True gives parents earlier dates than children, days apart. Otherwise all are uploaded in the same second, so
            that nothing but the weights tells who came first.
    """
    truth = read_truth(folder)
    for number, model in enumerate(truth.models):
        repository = folder / model.id
        files = {p.relative_to(repository).as_posix(): p for p in sorted(repository.rglob("*")) if p.is_file()}
        created = UPLOADED + timedelta(days=3 * number) if dated else UPLOADED
        hub.add_repo(model.id, files, created_at=created, downloads=100 - number)
    return truth


# --- the three architectures ----------------------------------------------------------------------------------------


class DigitsMLP(nn.Sequential):
    """(n, 1, 8, 8) -> (n, 10); 116,618 weights."""

    config: ClassVar = {"architectures": ["DigitsMLP"], "model_type": "digits-mlp", "hidden_sizes": [256, 256, 128]}

    def __init__(self) -> None:
        wide = [64, 256, 256, 128]
        layers = [layer for a, b in pairwise(wide) for layer in (nn.Linear(a, b), nn.ReLU())]
        super().__init__(nn.Flatten(), *layers, nn.Linear(128, 10))


class DigitsConvNet(nn.Sequential):
    """(n, 1, 8, 8) -> (n, 10); 90,090 weights, with batch norm."""

    config: ClassVar = {"architectures": ["DigitsConvNet"], "model_type": "digits-conv", "channels": [32, 64, 64]}

    def __init__(self) -> None:
        super().__init__(
            *self._block(1, 32),
            nn.MaxPool2d(2),
            *self._block(32, 64),
            *self._block(64, 64),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    @staticmethod
    def _block(a: int, b: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()


class DigitsAutoencoder(nn.Sequential):
    """(n, 1, 8, 8) -> (n, 64), the picture again; 74,592 weights."""

    config: ClassVar = {"architectures": ["DigitsAutoencoder"], "model_type": "digits-autoencoder", "code_size": 32}

    def __init__(self) -> None:
        layers = nn.Linear(64, 384), nn.GELU(), nn.Linear(384, 32), nn.Linear(32, 384), nn.GELU(), nn.Linear(384, 64)
        super().__init__(nn.Flatten(), *layers)


ARCHITECTURES: dict[str, type[DigitsMLP | DigitsConvNet | DigitsAutoencoder]] = {
    "mlp": DigitsMLP,
    "conv": DigitsConvNet,
    "autoencoder": DigitsAutoencoder,
}


# --- training -------------------------------------------------------------------------------------------------------


def _make(folder: Path, planned: PlannedModel, seed: int, effort: float) -> TrueModel:
    repository = folder / planned.repo_id
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir(parents=True)
    torch.manual_seed(_seed_of(planned.repo_id, seed))
    model = ARCHITECTURES[planned.architecture]()
    before = _read_weights(folder / planned.parent) if planned.parent else None
    if before is not None:
        model.load_state_dict(before)
    if planned.recipe is None:
        assert planned.parent is not None
        for file in (folder / planned.parent).glob("*.safetensors*"):
            shutil.copyfile(file, repository / file.name)
        accuracy = None
    else:
        recipe = replace(planned.recipe, epochs=max(1, round(planned.recipe.epochs * effort)))
        accuracy = _train(model, recipe, torch.Generator().manual_seed(_seed_of(planned.repo_id, seed)))
        _write_weights(repository, model.state_dict(), planned.storage)
    (repository / "config.json").write_text(json.dumps({**model.config, "torch_dtype": "float32"}, indent=2) + "\n")
    (repository / "README.md").write_text(_card(planned, accuracy))
    return TrueModel(
        id=planned.repo_id,
        parent=planned.parent,
        relation=None if planned.parent is None else "COPY_OF" if planned.recipe is None else "FINE_TUNED_FROM",
        declared=planned.declared,
        architecture=planned.architecture,
        distance=None if before is None else _distance(model, before),
        accuracy=accuracy,
        values=sum(p.numel() for p in model.parameters()),
    )


def _train(model: nn.Module, recipe: Recipe, generator: torch.Generator) -> float | None:
    """Train in place; gives the accuracy on held-out pictures."""
    images, labels = _digits()
    seen, named = _see(recipe.task, images[HELD_OUT:], labels[HELD_OUT:], generator)
    if recipe.optimiser == "sgd":
        optimiser: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay
        )
    else:
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * (len(seen) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(seen), generator=generator)
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            answers = model(seen[batch])  # (n, 10), or (n, 64) of the autoencoder
            loss = (
                mse_loss(answers, seen[batch].flatten(1))
                if recipe.task == "rebuild"
                else cross_entropy(answers, named[batch])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    if recipe.task == "rebuild":
        return None
    model.eval()
    shown, true = _see(recipe.task, images[:HELD_OUT], labels[:HELD_OUT], generator)
    with torch.no_grad():
        return (model(shown).argmax(1) == true).float().mean().item()


def _digits() -> tuple[Tensor, Tensor]:
    """(1797, 1, 8, 8) float32 of 0 to 1, (1797,) int64."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16  # (1797, 1, 8, 8)
    return images, torch.tensor(digits.target, dtype=torch.int64)


def _see(task: str, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures and labels as this task has them, one word after the other; `low` leaves pictures out."""
    for word in task.split():
        match word:
            case "rotated":
                images = images.rot90(1, (2, 3))
            case "mirrored":
                images = images.flip(3)
            case "inverted":
                images = 1 - images
            case "noisy":
                blurred = interpolate(interpolate(images, size=5, mode="bilinear"), size=8, mode="bilinear")
                images = blurred + 0.12 * torch.randn(images.shape, generator=generator)
            case "parity":
                labels = labels % 2
            case "low":
                images, labels = images[labels < 5], labels[labels < 5]
            case "rebuild":  # the picture is its own answer
                pass
            case _:
                raise ValueError(f"no such task: {word}")
    return images, labels


def _seed_of(repo_id: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {repo_id}".encode()).digest()[:6])


def _distance(model: nn.Module, before: dict[str, Tensor]) -> float:
    """|after - before| / |before| over trainable weights, in float64."""
    pairs = [(p.detach().double(), before[name].double()) for name, p in model.named_parameters()]
    moved = sum(((a - b) ** 2).sum().item() for a, b in pairs)
    return (moved / sum((b**2).sum().item() for _, b in pairs)) ** 0.5


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the number of cores; such small models are no slower for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# --- files ----------------------------------------------------------------------------------------------------------


def _write_weights(repository: Path, weights: dict[str, Tensor], storage: str) -> None:
    if storage == "bfloat16":
        weights = {name: w.bfloat16() if w.is_floating_point() else w for name, w in weights.items()}
    if storage != "sharded":
        save_file(weights, repository / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(weights)
    parts = names[: len(names) // 2], names[len(names) // 2 :]
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        save_file({name: weights[name] for name in part}, repository / file, metadata={"format": "pt"})
    total = sum(w.numel() * w.element_size() for w in weights.values())
    weight_map = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (repository / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _read_weights(repository: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for file in sorted(repository.glob("*.safetensors")):
        weights |= load_file(file)
    return weights


def _card(planned: PlannedModel, accuracy: float | None) -> str:
    claim = f"base_model: {planned.declared}\n" if planned.declared else ""
    result = f"\nHeld-out accuracy in its own task: {accuracy:.1%}.\n" if accuracy is not None else ""
    task = (
        f"Task: digits, {planned.recipe.task or 'as they are'}.\n"
        if planned.recipe
        else "The same files under another name.\n"
    )
    return f"---\nlicense: mit\ntags:\n- digits\n{claim}---\n# {planned.repo_id.split('/')[1]}\n\n{task}{result}"
