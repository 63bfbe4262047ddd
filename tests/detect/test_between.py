"""A model that lies between two others, as a merge of both does, is not asserted as the parent of either."""

import numpy as np

from lineage.detect.between import with_parents_between
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.reasons import Reason
from lineage.graphdb.schema import Relation


def distances(*points):
    rows = np.array(points, float)
    return np.square(rows[:, None] - rows[None]).sum(2)


def found(distance, above, root=0, then=()):
    names = ["base", "a", "b", "middle"]
    edges = [
        Decision(n, AnswerKind.PARENT, 0.9, names[p], Relation.FINE_TUNED_FROM, reason=Reason("grew", then=then))
        if p >= 0
        else Decision(n, AnswerKind.ROOT, 0.9)
        for n, p in zip(names, above, strict=True)
    ]
    return {d.model: d for d in with_parents_between(edges, distance, above, root)}


def test_a_model_between_two_is_the_parent_of_neither():
    between = distances((0, 0), (1, 0), (0, 1), (0.5, 0.5))
    after = found(between, [-1, 0, 3, 0])
    assert (after["b"].answer, after["b"].parent, after["b"].reason.key) == (AnswerKind.UNDECIDED, None, "between")
    assert after["a"].parent == after["middle"].parent == "base"


def test_what_has_its_parent_s_units_scaled_is_no_part_of_a_mean():
    between = distances((0, 0), (1, 0), (0, 1), (0.5, 0.5))
    assert found(between, [-1, 0, 3, 0], then=(Reason("scaled_units"),))["b"].parent == "middle"


def test_children_of_a_tuning_and_those_of_the_root_are_left_alone():
    chain = distances((0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 0, 0))
    assert found(chain, [-1, 0, 3, 0])["b"].parent == "middle"
    around = distances((0, 0), (1, 0), (-1, 0.1), (0, 1))
    assert {found(around, [-1, 0, 0, 0])[name].parent for name in ("a", "b", "middle")} == {"base"}
