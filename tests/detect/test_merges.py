"""Means of two models are found, with their shares, and nothing else is called one."""

import numpy as np
import pytest

from lineage.detect.decision import AnswerKind
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detection import as_edges
from lineage.graphdb.schema import Relation
from tests.builders import sketch_of, three_generations


def said(models):
    return {
        d.model: d for d in decide([Subject(n, sketch_of(w, n)) for n, w in models.items()], Options(detector=False))
    }


def mean(one, other, share):
    return {name: ((1 - share) * one[name] + share * other[name]).astype(np.float32) for name in one}


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_a_weighted_mean_of_two_siblings_has_two_parents_with_their_shares(share):
    models, parents = three_generations()
    models["soup"] = mean(models["b"], models["c"], share)
    found = said(models)
    soup = found["soup"]
    assert (soup.answer, soup.relation) == (AnswerKind.PARENT, Relation.MERGED_FROM)
    assert dict(soup.merged_from) == pytest.approx({"b": 1 - share, "c": share}, abs=1e-3)
    assert soup.parent == ("c" if share > 0.5 else soup.merged_from[0][0])
    edges, _ = as_edges([soup], Options())
    assert {(e.parent, e.kind): e.share for e in edges} == {
        ("b", Relation.MERGED_FROM): pytest.approx(1 - share, abs=1e-3),
        ("c", Relation.MERGED_FROM): pytest.approx(share, abs=1e-3),
    }
    assert [m for m, d in found.items() if d.merged_from] == ["soup"]
    assert {m: found[m].parent for m in parents if found[m].parent not in (None, parents[m])} == {}, (
        "parts come from no mean"
    )


def test_a_mean_stored_in_half_precision_is_still_one():
    models, _ = three_generations()
    models["soup"] = {n: v.astype(np.float16) for n, v in mean(models["b"], models["d"], 0.5).items()}
    assert {name for name, _ in said(models)["soup"].merged_from} == {"b", "d"}


def test_a_model_that_is_another_one_shrunk_by_half_is_no_mean():
    models, _ = three_generations()
    models["smaller"] = {n: (0.9 * v).astype(np.float32) for n, v in models["b"].items()}
    models["smallest"] = {n: (0.8 * v).astype(np.float32) for n, v in models["b"].items()}
    assert not [m for m, d in said(models).items() if d.merged_from]
