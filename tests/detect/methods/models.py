"""Models that the tests of the methods decide about, with names and truth."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lineage.detect.decision import Decision
from lineage.detect.methods.registry import decide_with
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from tests.builders import Weights, sketch_of, start, tune

CPU = torch.device("cpu")
SMALL = {"layers.0.weight": (24, 16), "layers.0.bias": (24,), "layers.1.weight": (24, 24), "layers.2.weight": (12, 24)}


def subjects_of(models: Mapping[str, Weights]) -> list[Subject]:
    return [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]


def two_families(children: int = 4, moved: float = 0.3) -> tuple[dict[str, Weights], dict[str, str | None]]:
    """Two parents and their children, which grow: no decay, so that a child's norm is the larger one."""
    models: dict[str, Weights] = {}
    parents: dict[str, str | None] = {}
    for place, root in enumerate(("a", "b")):
        models[root] = start(100 + place, SMALL)
        parents[root] = None
        for k in range(children):
            models[f"{root}{k}"] = tune(models[root], 1000 * place + k, moved, decay=0.0)
            parents[f"{root}{k}"] = root
    return models, parents


def asked(name: str, subjects: list[Subject], **settings: str) -> list[Decision]:
    return decide_with(name, subjects, Options(settings=settings), CPU)


def parents(decisions: list[Decision]) -> dict[str, str | None]:
    return {decision.model: decision.parent for decision in decisions}
