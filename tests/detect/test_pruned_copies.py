"""Pruned copies are of the model whose values they kept, and do not turn its family round."""

import numpy as np
import pytest

from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.pruned_copies import PrunedCopy, from_pruned, pruned_copies
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of, start, tune
from tests.detect.test_dropped_values import SHAPES


def pruned(weights, share=0.5):
    """The smallest values of each row set to zero."""
    found = {}
    for name, values in weights.items():
        limit = np.quantile(np.abs(values), share, axis=-1, keepdims=True)
        found[name] = np.where(np.abs(values) > limit, values, 0).astype(np.float32)
    return found


def said(models):
    return {d.model: d for d in decide([Subject(n, sketch_of(w, n)) for n, w in models.items()], Options())}


def test_a_pruned_copy_and_what_was_trained_from_it_are_named():
    base = start(1, SHAPES)
    child = tune(base, 2, 0.05)
    copy = pruned(child)
    found = said({"base": base, "child": child, "copy": copy, "healed": tune(copy, 3, 0.05)})
    assert (found["copy"].parent, found["copy"].reason.key) == ("child", "pruned")
    assert (found["healed"].parent, found["healed"].reason.key) == ("copy", "of_pruned")
    assert (found["copy"].relation, found["healed"].relation) == (Relation.COPY_OF, Relation.FINE_TUNED_FROM)
    assert found["copy"].evidence["pruned_share"] == pytest.approx(0.5, abs=0.01)
    assert found["base"].parent is None and found["child"].parent in ("base", None)


def test_a_model_that_was_trained_from_a_pruned_one_is_no_copy_of_the_original():
    base = start(1, SHAPES)
    found = said({"base": base, "sparse": tune(pruned(base), 4, 0.05)})
    assert found["sparse"].reason.key != "pruned"


def test_nothing_is_asserted_of_what_is_as_near_to_the_original():
    distance = np.array([[0.0, 1.0, 0.9], [1.0, 0.0, 0.8], [0.9, 0.8, 0.0]])
    assert from_pruned({1: PrunedCopy(0, 0.5)}, distance) == {}
    distance[1, 2] = distance[2, 1] = 0.1
    assert from_pruned({1: PrunedCopy(0, 0.5)}, distance) == {2: 1}
    assert pruned_copies([], distance) == {}
