"""What stands on the loopback Hub in the tests of the command: a family with known lineage, and everything that is no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from tests.adapters import lora, peft_files
from tests.builders import Weights, start, three_generations, tune
from tests.cli.command import Command
from tests.fake_hub import FakeHub

OTHER = {"stem.weight": (24, 20), "head.weight": (16, 24)}  # another architecture


@dataclass(frozen=True)
class World:
    """A Hub, the command at it, and the weights of the family by the last part of their names."""

    hub: FakeHub
    lineage: Command
    models: dict[str, Weights]
    home: Path


def publish(hub: FakeHub) -> dict[str, Weights]:
    """`acme/<name>` for each of `builders.three_generations`, a copy, a coarser copy, a stranger, an adapter, and no models."""
    models, parents = three_generations()
    models["again"] = models["c"]
    models["half"] = {name: values.astype(np.float16) for name, values in models["d"].items()}
    models["stranger"] = start(4242, OTHER)
    claims = {**parents, "again": "c", "half": "d", "ca": "b"}  # the card of `ca` is wrong
    for name, weights in models.items():
        hub.add_repo(f"acme/{name}", {"README.md": card(claims.get(name)), "model.safetensors": save(weights)})
    hub.add_repo("acme/adapter", {"README.md": card("a"), **adapter()})
    hub.add_repo("acme/pickle", {"README.md": card("a"), "model.pkl": b"no pickle is ever opened"})
    hub.add_repo("acme/text", {"README.md": b"no weights at all"})
    hub.add_repo("acme/gated", {"model.safetensors": save(tune(models["a"], 9))}, gated="manual")
    return models


def card(base: str | None) -> bytes:
    return f"---\nbase_model: acme/{base}\n---\n".encode() if base else b"---\nlicense: mit\n---\n"


def adapter() -> dict[str, bytes]:
    return peft_files(lora(start(0), ("0", "1")), "acme/a")
