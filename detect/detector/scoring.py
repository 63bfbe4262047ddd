"""What the trained detector says of a family: who came before whom, and for each model who of the others is its parent, or none.

The weights ship beside this file (detector.safetensors); detector_card.md says on what they were trained and how far to trust them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lineage.detect.align import Layer
from lineage.detect.detector.context import context, merged
from lineage.detect.detector.network import CandidateNetwork, DirectionNetwork
from lineage.detect.detector.tokens import Tokens, measured_alone, tokens
from lineage.detect.gram import Gram
from lineage.detect.signals.pairs import each_once
from lineage.graphdb.schema import Failure

VERSION = "2"
_PAIRS_AT_ONCE = 4096
_CHILDREN_AT_ONCE = 64


class BadDetector(Failure):
    """A file that is no detector of this version."""


@dataclass(frozen=True, slots=True)
class Detector:
    direction: DirectionNetwork
    candidates: CandidateNetwork


@dataclass(frozen=True, slots=True)
class DetectorScores:
    """
    Attributes:
        came_first: (m, m) float64, [a, b]: log-odds that a came before b; antisymmetric, 0 for pairs that were not looked at.
        parent: (m, m) float64, [child, parent]: probability; none: (m,) float64: of no parent among the models. Rows of both add up to 1.
    """

    came_first: Tensor
    parent: Tensor
    none: Tensor


@cache
def shipped(device: str = "cpu") -> Detector:
    """The detector that comes with the package."""
    with as_file(files("lineage.detect.detector").joinpath("detector.safetensors")) as path:
        return load(path, torch.device(device))


@cache
def loaded(file: str, device: str = "cpu") -> Detector:
    """One of your own, see `load`; read once."""
    return load(Path(file), torch.device(device))


def load(path: Path, device: torch.device) -> Detector:
    """
    Raises:
        BadDetector: the file is none, or of another version.
    """
    try:
        with safe_open(path, "pt") as file:
            version = (file.metadata() or {}).get("version")
        tensors = load_file(path)
        if version != VERSION:
            raise BadDetector(f"{path} is no detector of version {VERSION}", "train one: lineage train detector ZOO")
        networks: list[torch.nn.Module] = [DirectionNetwork(), CandidateNetwork()]
        for name, network in zip(("direction.", "candidates."), networks, strict=True):
            network.load_state_dict({k.removeprefix(name): t for k, t in tensors.items() if k.startswith(name)})
            network.requires_grad_(False).to(device).eval()
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BadDetector(f"{path} cannot be read as a detector", "train one: lineage train detector ZOO") from error
    return Detector(*networks)  # type: ignore[arg-type]


def save(detector: Detector, path: Path, told: dict[str, str]) -> None:
    """Write both networks; `told` goes into the file's metadata."""
    tensors = {f"direction.{k}": t.contiguous().cpu() for k, t in detector.direction.state_dict().items()}
    tensors |= {f"candidates.{k}": t.contiguous().cpu() for k, t in detector.candidates.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"version": VERSION, **told})


def detector_scores(
    layers: Sequence[Layer],
    neighbours: Tensor,
    gram: Gram,
    size: Tensor,
    related: Tensor,
    counted: Tensor | None = None,
    detector: Detector | None = None,
) -> DetectorScores:
    """
    Args:
        layers: of the family's m models; neighbours: (m, k) int64, possible parents of each, nearest first.
        gram: of the same models; size: (m,) squared length of each; related: (m, m) excess cosine.
        counted: (m, m) log-odds of counters, added to those of the weights before candidates are compared.
        detector: the shipped one where none is given.
    """
    device = layers[0].values.device
    detector = detector or shipped(str(device))
    models = len(neighbours)
    odds = directions(layers, neighbours, detector)
    seen_odds = odds if counted is None else odds + counted
    candidates = neighbours.cpu()
    products = Gram(gram.products.cpu(), gram.values.cpu(), gram.layer)
    seen = context(merged(products), size.cpu(), related.cpu(), seen_odds, candidates)
    rows = []
    with torch.no_grad():
        for part in torch.arange(models).split(_CHILDREN_AT_ONCE):
            pair, third, used = (each[part].to(device) for each in (seen.pair, seen.third, seen.used))
            possible = torch.ones(pair.shape[:2], dtype=torch.bool, device=device)
            rows.append(detector.candidates(pair, third, used, possible).exp().double().cpu())
    choice = torch.cat(rows)  # (m, k + 1)
    parent = torch.zeros(models, models, dtype=torch.float64).scatter_(1, candidates, choice[:, :-1])
    return DetectorScores(odds, parent, choice[:, -1])


def directions(layers: Sequence[Layer], neighbours: Tensor, detector: Detector | None = None) -> Tensor:
    """(m, m) float64, [a, b]: log-odds that a came before b, for each model and its (m, k) neighbours; antisymmetric, elsewhere 0."""
    device = layers[0].values.device
    detector = detector or shipped(str(device))
    pairs = each_once(neighbours)
    alone = measured_alone(layers)
    said = torch.cat(
        [
            direction_odds(detector.direction, tokens(layers, part.to(device), alone))
            for part in pairs.split(_PAIRS_AT_ONCE)
        ]
    )
    return _matrix(said, pairs, len(neighbours))


@torch.no_grad()
def direction_odds(network: DirectionNetwork, described: Tokens, at_once: int = 1024) -> Tensor:
    """(p,) float64 on the CPU: log-odds that the first of each pair came first."""
    parts = zip(
        described.odd.split(at_once), described.even.split(at_once), described.present.split(at_once), strict=True
    )
    device = network.temperature.device
    return torch.cat([network(*(each.to(device) for each in part)).double().cpu() for part in parts])


def came_first_of(network: DirectionNetwork, described: Tokens, pairs: Tensor, models: int) -> Tensor:
    """(m, m) float64, [a, b], from the tokens of pairs."""
    return _matrix(direction_odds(network, described), pairs, models)


def _matrix(odds: Tensor, pairs: Tensor, models: int) -> Tensor:
    filled = torch.zeros(models, models, dtype=torch.float64)
    filled[pairs[:, 0], pairs[:, 1]] = odds
    filled[pairs[:, 1], pairs[:, 0]] = -odds
    return filled
