"""What is left of a quantized copy: whether it points to another model than the one that fits it best."""

from __future__ import annotations

import numpy as np
import pytest

from lineage.detect.copy_fit import leaning
from lineage.detect.model_input import Subject
from lineage.detect.sampled_values import SampledValues
from tests.builders import sketch_of

NAME = "model.layers.0.mlp.up_proj.weight"
CHANCE = 5.0  # standard errors


def subject(name: str, values: np.ndarray) -> Subject:
    return Subject(name, sketch_of({NAME: values.astype(np.float32)}, name))


def rounded(values: np.ndarray) -> np.ndarray:
    """To four bits of the significand, as float8 e4m3."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(fraction * 16) / 16, exponent)


@pytest.fixture
def base() -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal((64, 128))


def tuned(values: np.ndarray, seed: int, moved: float = 0.004) -> np.ndarray:
    return values + moved * np.random.default_rng(seed).standard_normal(values.shape)


def lean(copy: np.ndarray, model: np.ndarray, other: np.ndarray) -> float:
    known = (subject("copy", copy), subject("model", model), subject("other", other))
    return abs(leaning(*known, [*known[0].sketch.samples], SampledValues(), folded=False))


def test_a_model_tuned_from_the_copy_says_nothing_against_the_original(base):
    assert lean(rounded(base), base, tuned(rounded(base), 2)) < CHANCE


def test_a_copy_of_an_unseen_child_leans_to_what_was_tuned_from_that_child(base):
    unseen = tuned(base, 2, moved=0.002)
    assert lean(rounded(unseen), base, tuned(unseen, 3)) > CHANCE
    assert lean(rounded(unseen), base, tuned(base, 3)) < CHANCE
