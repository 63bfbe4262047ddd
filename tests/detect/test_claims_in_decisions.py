"""Claims among the kinds of evidence that moved a decision: those of the model's own card."""

from __future__ import annotations

from datetime import UTC, datetime

from lineage.detect.acceptance import MAY_BE_MERGED
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from tests.builders import Weights, sketch_of, start, tune


def test_a_card_that_names_another_model_moved_nothing():
    base = start(1)
    models = {"base": base, **{f"t{i}": tune(base, 10 + i, 0.3) for i in range(4)}}
    claims = {"t1": {"base"}, "t2": {"base"}, "t3": {"elsewhere"}}
    subjects = [Subject(n, sketch_of(w, n), declared=frozenset(claims.get(n, ()))) for n, w in models.items()]
    found = {d.model: d for d in decide(subjects, Options())}
    assert found["t1"].parent == found["t3"].parent == "base"
    assert "declared" in found["t1"].decided_by and "declared" not in found["t3"].decided_by


def test_a_model_with_a_part_of_what_its_claimed_base_changed_may_be_a_merge():
    base = start(1)
    models = {"base": base, **{f"t{i}": tune(base, 10 + i, 0.3) for i in range(4)}}
    unseen = tune(base, 20, 0.3)
    models["merge"] = {name: (models["t1"][name] + unseen[name]) / 2 for name in base}
    claims = {"merge": {"t1"}, "t2": {"t1"}}
    subjects = [Subject(n, sketch_of(w, n), declared=frozenset(claims.get(n, ()))) for n, w in models.items()]
    found = {d.model: d for d in decide(subjects, Options())}
    assert (found["merge"].parent, found["merge"].probability) == ("base", MAY_BE_MERGED)
    assert "0.50 of what t1 changed" in str(found["merge"].reason)
    assert found["t2"].parent == "base" and found["t2"].probability > MAY_BE_MERGED


def decided(models: dict[str, Weights], claims: dict[str, set[str]], dates: dict[str, datetime] | None = None):
    subjects = [
        Subject(n, sketch_of(w, n), declared=frozenset(claims.get(n, ())), created_at=dates and dates[n])
        for n, w in models.items()
    ]
    return {d.model: d for d in decide(subjects, Options())}


def test_children_of_a_base_that_is_not_at_hand_are_none_of_each_other_whatever_else_speaks_for_it():
    """One moved next to nothing, is the oldest, and so looks like the parent: with cards that name the absent base it is a sibling."""
    base = start(1)
    models = {f"t{i}": tune(base, 10 + i, 0.01 if i == 0 else 0.3) for i in range(5)}
    dates = {name: datetime(2025, 1, 1 + i, tzinfo=UTC) for i, name in enumerate(models)}
    assert decided(models, {}, dates)["t1"].parent == "t0"
    found = decided(models, {name: {"absent"} for name in models}, dates)
    assert {d.parent for d in found.values()} == {None}
    assert found["t1"].reason.key == "unseen_parent" and "same base" in str(found["t1"].reason)


def test_nothing_is_asserted_against_dates_and_a_card_that_names_the_child():
    base = start(1)
    models = {"base": base, **{f"t{i}": tune(base, 10 + i, 0.3) for i in range(9)}}
    later = {name: datetime(2025, 1, 9 if name == "base" else 2, tzinfo=UTC) for name in models}
    late = decided(models, {}, later)["t1"]
    assert (late.parent, decided(models, {"base": {"t1"}}, later)["t1"].reason.key) == ("base", "told_otherwise")
