"""A family whose oldest model is a long training of a model of another family, or had a start in common with it, says so."""

from __future__ import annotations

import numpy as np
import pytest

from lineage.detect.common_starts import models_of, starts_in
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.group_decisions import decide_groups
from lineage.detect.model_input import Subject
from lineage.detect.pipeline import decide
from tests.builders import Weights, sketch_of, start, tune


def long_training(weights: Weights, kept: float, seed: int) -> Weights:
    """A share of each value is left, the rest is new."""
    new = start(seed)
    mixed = {name: kept * v + np.sqrt(1 - kept**2) * new[name] for name, v in weights.items()}
    return {name: values.astype(np.float32) for name, values in mixed.items()}


BASE = start(1)
LONG = long_training(BASE, 0.3, 7)
WEIGHTS = {"base": BASE, "cpt": tune(BASE, 2), "long": LONG, "chat": tune(LONG, 3), "stranger": start(9)}


def decided(*names: str) -> dict[str, Decision]:
    subjects = [Subject(name, sketch_of(WEIGHTS[name], name)) for name in names]
    return {decision.model: decision for decision in decide_groups(subjects, decide, 0.8)}


@pytest.mark.parametrize(
    "names", [("base", "long"), ("base", "cpt", "long"), ("base", "long", "chat"), ("base", "cpt", "long", "chat")]
)
def test_a_root_names_the_family_that_it_had_a_start_in_common_with(names: tuple[str, ...]) -> None:
    found = decided(*names, "stranger")
    top = next(found[m] for m in ("long", "chat") if m in found and found[m].parent is None)
    named = {model for clause in starts_in(top) for model in models_of(clause)}
    assert named & {"base", "cpt"} and "stranger" not in named, top.reason
    assert found["stranger"].answer is AnswerKind.NO_RELATIVES and not starts_in(found["stranger"])
    assert all(not starts_in(one) for one in found.values() if one.parent is not None)
