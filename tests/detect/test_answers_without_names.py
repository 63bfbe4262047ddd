"""What a model is called, and so its place among the others, changes no answer."""

from __future__ import annotations

import numpy as np
import pytest

from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from tests.builders import Weights, sketch_of, start, tune


def scaled(parent: Weights, seed: int) -> Weights:
    """Each row times a factor of its own, as merged IA3 leaves it."""
    random = np.random.default_rng(seed)
    factors = {name: random.lognormal(0.0, 0.05, (len(values), 1)) for name, values in parent.items()}
    return {
        name: (values.reshape(len(values), -1) * factors[name]).reshape(values.shape).astype(np.float32)
        for name, values in parent.items()
    }


def answers(models: dict[str, Weights], called: dict[str, str]) -> dict[str, tuple[str, str | None, float]]:
    true_name = {name: model for model, name in called.items()}
    subjects = [Subject(name, sketch_of(models[model], name)) for model, name in sorted(called.items())]
    return {
        true_name[d.model]: (str(d.answer), d.parent and true_name[d.parent], round(d.probability, 6))
        for d in decide(sorted(subjects, key=lambda s: s.id), Options())
    }


@pytest.mark.slow
def test_answers_do_not_depend_on_what_models_are_called() -> None:
    base = start(3)
    models = {f"t{i}": tune(base, 10 + i, 0.2) for i in range(3)}
    models |= {"base": base, "scaled": scaled(base, 5), "of t0": tune(models["t0"], 20, 0.1)}
    models |= {"also scaled": scaled(base, 6)}
    names = sorted(models)
    given = answers(models, {model: f"m{i}" for i, model in enumerate(names)})
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(names))
        assert answers(models, {model: f"m{order[i]}" for i, model in enumerate(names)}) == given
    turned = {model: f"m{len(names) - i}" for i, model in enumerate(names)}
    assert answers(models, turned) == given
