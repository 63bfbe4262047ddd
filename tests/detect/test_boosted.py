"""Boosted trees as numbers say what scikit-learn says, and only rise with what speaks for an answer."""

import numpy as np
import pytest
import torch

from bench.boosted import as_json, fit
from lineage.detect import ancestor, missing_parent
from lineage.detect.boosted import from_json, shipped


def test_the_numbers_say_what_the_fitted_model_says():
    import json

    dice = np.random.default_rng(0)
    x = dice.normal(size=(600, 3))
    y = x[:, 0] + 0.5 * x[:, 1] ** 2 + 0.3 * dice.normal(size=600) > 0.5
    model = fit(x, y, np.ones(600), (1, 0, 0))
    trees = from_json(json.loads(as_json(model, ("a", "b", "c"), {"rows": 600})))
    far = np.concatenate([x, 100 * dice.normal(size=(50, 3))])
    assert trees.log_odds(torch.from_numpy(far)).numpy() == pytest.approx(model.decision_function(far), abs=1e-4)
    assert len(trees.log_odds(torch.zeros(0, 3))) == 0


@pytest.mark.parametrize("module", [ancestor, missing_parent])
def test_what_ships_only_rises_or_falls_with_its_features_as_promised(module):
    trees = shipped(module.TREES)
    assert trees.features == module.FEATURES
    torch.manual_seed(1)
    rows = 2 * torch.randn(200, len(module.FEATURES), dtype=torch.float64)
    for place, sign in enumerate(module.SIGNS):
        more = rows.clone()
        more[:, place] += torch.rand(200, dtype=torch.float64) * 3
        change = trees.log_odds(more) - trees.log_odds(rows)
        assert sign == 0 or bool((sign * change >= -1e-9).all()), module.FEATURES[place]


def test_a_tree_of_more_leaves_than_a_byte_has_bits_is_refused():
    tree = {"feature": [0] * 17, "threshold": [0.0] * 17, "value": [0.0] * 17}
    tree["left"] = [1 + 2 * node if node < 8 else node for node in range(17)]
    tree["right"] = [2 + 2 * node if node < 8 else node for node in range(17)]
    with pytest.raises(ValueError, match="9 leaves"):
        from_json({"features": ["a"], "baseline": 0.0, "trees": [tree]})
