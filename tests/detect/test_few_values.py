"""What is true of a family only by way of others, or of a handful of values, is not asserted."""

import numpy as np
import pytest

from lineage.detect.decision import AnswerKind
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from tests.builders import sketch_of, start, tune


def said(models):
    return {
        d.model: d for d in decide([Subject(n, sketch_of(w, n)) for n, w in models.items()], Options(threshold=0.3))
    }


@pytest.mark.parametrize(("rows", "asserted"), [(64, True), (12, False)])
def test_of_few_values_nothing_is_asserted(rows: int, asserted: bool) -> None:
    base = start(1, {"layers.0.weight": (rows, 16), "layers.1.weight": (rows, 16)})
    found = said({"base": base} | {f"child{i}": tune(base, 2 + i, 0.3, decay=0.0) for i in range(3)})
    assert (found["child0"].parent == "base") is asserted
    assert asserted or found["child0"].reason.key == "few_values"


@pytest.mark.parametrize("count", [2, 3])
def test_two_children_alone_tell_no_more_of_a_parent_than_one(count: int) -> None:
    """Three siblings look the same, of which one moved least."""
    base = start(1)
    models = {"base": base} | {f"child{i}": tune(base, 2 + i, 0.3, decay=0.0) for i in range(count)}
    found = {d.model: d for d in decide([Subject(n, sketch_of(w, n)) for n, w in models.items()], Options())}
    assert found["child0"].candidates[0].parent == "base"
    assert (found["child0"].parent is None) == (count == 2)


def test_what_lies_lengths_away_is_not_asserted() -> None:
    base = start(1)
    far = {n: (v + 3.0 * start(9)[n]).astype(np.float32) for n, v in base.items()}
    found = said({"base": base, "far": far} | {f"child{i}": tune(base, 2 + i, 0.3, decay=0.0) for i in range(3)})
    assert found["child0"].parent == "base"
    assert found["far"].candidates[0].parent == "base" and found["far"].reason.key == "too_far"


def test_a_stranger_that_a_merge_holds_in_the_family_comes_from_nobody_there() -> None:
    base, stranger = start(1), start(2)
    child = tune(base, 3, 0.2, decay=0.0)
    bridge = {name: (0.5 * child[name] + 0.5 * stranger[name]).astype(np.float32) for name in base}
    found = said({"base": base, "child": child, "stranger": stranger, "bridge": tune(bridge, 4, 0.01, decay=0.0)})
    assert found["stranger"].parent not in ("base", "child")
    assert found["child"].parent not in ("stranger", "bridge") and found["base"].answer is not AnswerKind.PARENT


def test_what_batch_norm_had_counted_more_batches_in_is_not_asserted_as_parent() -> None:
    base = start(1)
    children = {f"child{i}": tune(base, 2 + i, 0.3, decay=0.0) for i in range(5)}
    for child0, asserted in (320, True), (294, False):
        counts = {"base": 314, "child0": child0}
        found = said(
            {
                name: {**weights, "bn.num_batches_tracked": np.array(counts.get(name, 330))}
                for name, weights in ({"base": base} | children).items()
            }
        )
        assert found["child0"].candidates[0].parent == "base" and found["child1"].parent == "base"
        assert (found["child0"].parent == "base") is asserted
        assert asserted or found["child0"].reason.key == "more_batches"
