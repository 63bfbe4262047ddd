"""Values that cannot be compared refuse a model; constants that are meant so do not."""

import numpy as np
import pytest

from lineage.detect.sketch_store import NotFinite
from tests.builders import sketch_of, start


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
def test_weights_that_are_not_finite_or_have_diverged_are_refused(value: float) -> None:
    weights = start(1)
    weights["layers.1.weight"][2, 3] = value
    with pytest.raises(NotFinite, match=r"layers\.1\.weight"):
        sketch_of(weights)


def test_masks_and_single_numbers_may_be_infinite() -> None:
    weights = start(1)
    plain = sketch_of(weights)
    mask = np.triu(np.full((128, 96), -np.inf, np.float32), 1)
    found = sketch_of(weights | {"mask": mask, "lowest": np.array([-np.inf], np.float32)})
    assert found.samples.keys() == plain.samples.keys()


@pytest.mark.parametrize("name", ["norm.running_var", "layers/batch_normalization_1/vars/3"])
def test_statistics_of_data_in_large_units_do_not_refuse_a_model_and_are_not_compared(name: str) -> None:
    weights = start(1)
    plain = sketch_of(weights)
    found = sketch_of(weights | {name: np.array([1.0, 1.7e9], np.float32)})
    assert found.samples.keys() == plain.samples.keys()
    with pytest.raises(NotFinite, match=name):
        sketch_of(weights | {name: np.array([1.0, np.nan], np.float32)})
