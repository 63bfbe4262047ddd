"""Passthrough merges are told from a parent of which two children hold all tensors, each those that were frozen in it."""

import numpy as np
import pytest

from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from tests.builders import Weights, sketch_of, start, tune

TABLE = "embed_tokens.weight"
SHAPES = {TABLE: (64, 32), **{f"layers.{i}.weight": (64, 64) for i in range(4)}}


def merged(models: dict[str, Weights]) -> dict[str, set[str]]:
    subjects = [Subject(name, sketch_of(weights, name)) for name, weights in models.items()]
    return {
        d.model: {part for part, _ in d.merged_from} for d in decide(subjects, Options(detector=False)) if d.merged_from
    }


def with_parts_of(model: Weights, parent: Weights, names: set[str]) -> Weights:
    """The model with some tensors of its parent, as freezing leaves them."""
    return {name: parent[name] if name in names else values for name, values in model.items()}


def drifted(parent: Weights, seed: int, common: Weights, share: float) -> Weights:
    """A child that went part of its way where all children of one recipe go. common: a child of the same parent."""
    own = tune(parent, seed, 0.1, decay=0.0)
    return {
        name: (values + share * (common[name] - values) + (1 - share) * (own[name] - values)).astype(np.float32)
        for name, values in parent.items()
    }


def family(share: float) -> dict[str, Weights]:
    """A parent and three tunings of it, which went alike by a share."""
    base = start(1, SHAPES)
    common = tune(base, 2, 0.1, decay=0.0)
    return {"base": base, **{f"t{i}": drifted(base, 3 + i, common, share) for i in range(3)}}


@pytest.mark.parametrize("frozen", [{TABLE}, {"layers.0.weight", "layers.1.weight"}])
def test_a_parent_is_no_merge_of_two_children_with_what_the_other_had_frozen(frozen):
    models = family(0.4)
    models["t0"] = with_parts_of(models["t0"], models["base"], frozen)
    models["t1"] = with_parts_of(models["t1"], models["base"], SHAPES.keys() - frozen)
    assert not merged(models)


def test_a_vocabulary_cut_to_other_rows_is_no_part_of_a_merge():
    models = family(0.0)
    base, one = models["base"], with_parts_of(models["t0"], models["base"], {TABLE})
    cut = {**base, TABLE: np.random.default_rng(28).permutation(base[TABLE])}
    children = {f"child{i}": tune(one, 28 + i, 0.05, decay=0.0) for i in range(3)}
    assert not merged({"base": base, "frozen": one, "cut": cut, **children})


@pytest.mark.parametrize("given", [{TABLE}, {"layers.0.weight", "layers.1.weight"}])
def test_what_was_put_together_of_two_siblings_is_a_merge(given):
    models = family(0.1)
    models["stack"] = with_parts_of(models["t0"], models["t1"], given)
    assert merged(models) == {"stack": {"t0", "t1"}}
