"""Copies with noise, and scaled ones, are copies: they are named, and they hide nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

import lineage
from lineage.detect.disguised_copies import Disguise, disguise_of
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.graphdb.schema import Relation
from tests.builders import Weights, sketch_of, start, three_generations, tune

LARGE = {f"layers.{i}.weight": (256, 256) for i in range(4)}


def noisy(weights: Weights, share: float, seed: int = 4711, absolute: bool = False) -> Weights:
    """Gaussian noise, a share of each tensor's own spread or of one spread for all."""
    random = np.random.default_rng(seed)
    return {
        name: (values + share * (0.05 if absolute else values.std()) * random.standard_normal(values.shape)).astype(
            values.dtype
        )
        for name, values in weights.items()
    }


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.2])
def test_white_noise_is_told_from_training(share: float, absolute: bool) -> None:
    parent = start(1)
    found = disguise_of(sketch_of(parent), sketch_of(noisy(parent, share, absolute=absolute)))
    assert found is not None and found.kind == "noise"
    assert disguise_of(sketch_of(parent), sketch_of(tune(parent, 2, moved=share, decay=0.0))) is None


def test_strong_noise_tells_which_is_the_original() -> None:
    parent = start(1, LARGE)
    copy = noisy(parent, 0.05)
    there, back = disguise_of(sketch_of(parent), sketch_of(copy)), disguise_of(sketch_of(copy), sketch_of(parent))
    assert there is not None and back is not None and (there.first, back.first) == (0, 1)


def test_scaled_tensors_are_the_same_model() -> None:
    parent = start(1)
    factors = dict(zip(parent, (2, 2, 0.5, 1, 1, 1), strict=True))
    scaled = {name: (values * factors[name]).astype(np.float32) for name, values in parent.items()}
    assert disguise_of(sketch_of(parent), sketch_of(scaled)) == Disguise("scaled", pytest.approx(2.0), None)


def test_the_original_of_a_noisy_copy_is_not_said_to_be_identical_and_a_noisy_copy_not_to_have_its_weights() -> None:
    models, _ = three_generations()
    weights = {"a": models["a"], "a-noise": noisy(models["a"], 0.05)}
    root, _ = decide([Subject(name, sketch_of(w, name)) for name, w in weights.items()])
    assert str(root.reason) == "the original of a model that has its weights scaled or with noise added"
    weights |= {name: models[name] for name in ("b", "c", "ba")}
    found = decide([Subject(name, sketch_of(w, name)) for name, w in weights.items()])
    assert not any("has the same weights as" in str(decision.reason) for decision in found)


@pytest.mark.slow
def test_a_copy_with_noise_takes_no_relation_from_its_original() -> None:
    models, _ = three_generations()
    plain = {name: answer.parent for name, answer in lineage.detect(models).items()}
    models |= {"b-noise": noisy(models["b"], 0.01), "d-scaled": {n: 1.01 * v for n, v in models["d"].items()}}
    found = lineage.detect(models)
    assert {name: found[name].parent for name in plain} == plain, "as without the copies"
    assert "b with noise of " in str(found["b-noise"].reason)
    assert found["b-noise"].parent == "a"
    assert "d with its tensors scaled by up to 1.01" in str(found["d-scaled"].reason)


@pytest.mark.slow
def test_dates_and_claims_tell_which_is_the_copy() -> None:
    models, _ = three_generations()
    models["z"] = noisy(models["b"], 0.01)
    dates = {name: datetime(2026, 1, 1 + place, tzinfo=UTC) for place, name in enumerate(models)}
    subjects = [Subject(name, sketch_of(weights, name), dates[name]) for name, weights in models.items()]
    (decision,) = [d for d in decide(subjects) if d.model == "z"]
    assert (decision.parent, decision.relation, decision.decided_by) == ("b", Relation.COPY_OF, ("content", "dates"))
    claims = [Subject(s.id, s.sketch, declared=frozenset({"b"}) if s.id == "z" else frozenset()) for s in subjects]
    (decision,) = [d for d in decide(claims, Options(dates=False)) if d.model == "z"]
    assert (decision.parent, decision.decided_by) == ("b", ("content", "declared"))
