"""What the trained detector gives for a family: log-odds of the direction of its pairs.

The weights ship beside this file (detector.safetensors); detector_card.md says on what they were trained and how far to trust them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from lineage.detect.align import Layer
from lineage.detect.arrays import Tensor, cached, numpy_computes, torch
from lineage.detect.detector.tokens import Tokens, measured_alone, tokens
from lineage.detect.signals.pairs import by_child_and_parent, each_once
from lineage.graphdb.schema import Failure

if TYPE_CHECKING:
    from lineage.detect.detector.network import DirectionNetwork

VERSION = "2"
_PAIRS_AT_ONCE = 4096
_BEGIN = "direction."  # of the names of its tensors; files of earlier versions hold others beside them


class BadDetector(Failure):
    """A file that is not a detector of this version."""


@cached
def shipped(device: str = "cpu") -> DirectionNetwork:
    """The detector that comes with the package."""
    with as_file(files("lineage.detect.detector").joinpath("detector.safetensors")) as path:
        return load(path, torch.device(device))


@cached
def loaded(file: str, device: str = "cpu") -> DirectionNetwork:
    """One of your own, see `load`; read once."""
    return load(Path(file), torch.device(device))


def load(path: Path, device: torch.device) -> DirectionNetwork:
    """
    Raises:
        BadDetector: not a detector, or of another version.
    """
    try:
        with safe_open(path, "np") as file:
            version = (file.metadata() or {}).get("version")
            small = {name: file.get_tensor(name) for name in file.keys()} if numpy_computes() else {}  # noqa: SIM118
        if version != VERSION:
            raise BadDetector(f"{path} is not a detector of version {VERSION}", "train one: lineage train detector ZOO")
        if numpy_computes():
            from lineage.detect.detector.small_network import SmallDirectionNetwork

            return SmallDirectionNetwork(small, _BEGIN)  # type: ignore[return-value]  # asked the same way
        from safetensors.torch import load_file

        from lineage.detect.detector.network import DirectionNetwork

        tensors = load_file(path)
        network = DirectionNetwork()
        network.load_state_dict({k.removeprefix(_BEGIN): t for k, t in tensors.items() if k.startswith(_BEGIN)})
        network.requires_grad_(False).to(device).eval()
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise BadDetector(f"{path} cannot be read as a detector", "train one: lineage train detector ZOO") from error
    return network


def save(network: DirectionNetwork, path: Path, about: dict[str, str]) -> None:
    """Writes a network; `about` goes into the file's metadata."""
    from safetensors.torch import save_file

    tensors = {_BEGIN + name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"version": VERSION, **about})


def directions(layers: Sequence[Layer], neighbours: Tensor, detector: DirectionNetwork | None = None) -> Tensor:
    """(m, m) float64, [child, parent]: log-odds that the parent came first, for each model and its (m, k) neighbours; antisymmetric,
    elsewhere 0."""
    device = layers[0].values.device
    detector = detector or shipped(str(device))
    pairs = each_once(neighbours)
    alone = measured_alone(layers)
    said = torch.cat(
        [direction_odds(detector, tokens(layers, part.to(device), alone)) for part in pairs.split(_PAIRS_AT_ONCE)]
    )
    return by_child_and_parent(said, pairs, len(neighbours))


def direction_odds(network: DirectionNetwork, described: Tokens, at_once: int = 1024) -> Tensor:
    """(p,) float64 on the CPU: log-odds that the first of each pair came first."""
    parts = zip(
        described.odd.split(at_once), described.even.split(at_once), described.present.split(at_once), strict=True
    )
    device = network.temperature.device
    with nullcontext() if numpy_computes() else torch.no_grad():
        return torch.cat([network(*(each.to(device) for each in part)).double().cpu() for part in parts])


def came_first_of(network: DirectionNetwork, described: Tokens, pairs: Tensor, models: int) -> Tensor:
    """(m, m) float64, [child, parent]: log-odds that the parent came first, from the tokens of pairs."""
    return by_child_and_parent(direction_odds(network, described), pairs, models)
