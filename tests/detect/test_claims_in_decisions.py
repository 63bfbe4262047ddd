"""Claims among the kinds of evidence that moved a decision: those of the model's own card."""

from __future__ import annotations

from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from tests.builders import sketch_of, start, tune


def test_a_card_that_names_another_model_moved_nothing():
    base = start(1)
    models = {"base": base, **{f"t{i}": tune(base, 10 + i, 0.3) for i in range(4)}}
    claims = {"t1": {"base"}, "t2": {"base"}, "t3": {"elsewhere"}}
    subjects = [Subject(n, sketch_of(w, n), declared=frozenset(claims.get(n, ()))) for n, w in models.items()]
    found = {d.model: d for d in decide(subjects, Options())}
    assert found["t1"].parent == found["t3"].parent == "base"
    assert "declared" in found["t1"].decided_by and "declared" not in found["t3"].decided_by
