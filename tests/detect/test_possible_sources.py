"""Nothing is settled as made from a model that was published later or whose card names it; what a card names comes first where it fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lineage.detect.decision import Decision
from lineage.detect.merges import Merge
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.possible_sources import claimed_sources, possible_sources
from lineage.detect.tuned_merges import settled_tunings, trained_from
from lineage.graphdb.schema import Relation
from tests.builders import Weights, sketch_of, start
from tests.detect.test_disguised_copies import LARGE, noisy
from tests.detect.test_merges import mean, star
from tests.detect.test_stacks import TABLE, family, with_parts_of
from tests.detect.test_tuned_merges import BASE, MERGED, ONE, OTHER, distances

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
ANY = sketch_of(start(0, {"layers.0.weight": (8, 8)}))
NEITHER = Options(dates=False, declared=False)


def known(names: Iterable[str], cards: Mapping[str, Iterable[str]] | None = None, dates: bool = True) -> list[Subject]:
    """Models published in the order given, a day apart."""
    days = {name: FIRST_DAY + timedelta(days=day) for day, name in enumerate(names)}
    return [Subject(n, ANY, d if dates else None, frozenset((cards or {}).get(n, ()))) for n, d in days.items()]


def ruled_out(subjects: list[Subject], options: Options | None = None, **copies: str) -> set[tuple[str, str]]:
    """(child, parent)"""
    among = [i for i, s in enumerate(subjects) if s.id not in copies]
    found = possible_sources(subjects, options or Options(), among, copies)
    names = [subjects[i].id for i in among]
    return set() if found is None else {(names[c], names[p]) for c, p in np.argwhere(~found).tolist()}


def test_nothing_comes_from_what_was_published_later() -> None:
    later = {("a", "b"), ("a", "c"), ("b", "c")}
    assert ruled_out(known("abc")) == later
    assert ruled_out(known("abc"), Options(dates=False)) == ruled_out(known("abc", dates=False)) == set()
    # of a model and its older copy the first date counts
    assert ruled_out(known("xabc"), x="b") == {("a", "c"), ("b", "a"), ("b", "c")}


def test_nothing_comes_from_what_names_it_or_a_model_that_does_unless_dates_contradict_the_card() -> None:
    cards = {"b": "a", "c": "b"}
    said = {("a", "b"), ("a", "c"), ("b", "c")}
    assert ruled_out(known("abc", cards, dates=False)) == said
    assert ruled_out(known("abc", cards, dates=False), Options(declared=False)) == set()
    assert ruled_out(known("ab", {"a": "b"})) == {("a", "b")}, "the card of the older one is wrong"
    assert ruled_out(known("ab", {"a": "b", "b": "a"}, dates=False)) == set()


def test_a_card_that_names_a_copy_names_the_model() -> None:
    subjects = known("abcx", {"c": "xb"})
    assert claimed_sources(subjects, Options(), [0, 1, 2], {"x": "a"}) == {2: (0, 1)}
    assert claimed_sources(subjects, Options(declared=False), [0, 1, 2], {"x": "a"}) == {}


def test_what_was_there_before_a_merge_was_not_trained_from_it() -> None:
    distance = distances(BASE, ONE, OTHER, MERGED, (1.0, 1.0, 1.0))
    merge = Merge(3, ((1, 0.5), (2, 0.5)), 0, "task arithmetic", 0.0)
    assert trained_from({3: merge}, distance) == {4: 3}
    older = Merge(3, ((1, 0.5), (2, 0.5)), 0, "task arithmetic", 0.0, before=frozenset({4}))
    assert trained_from({3: older}, distance) == {} == settled_tunings({3: older}, distance)


def decided(
    models: Mapping[str, Weights], cards: Mapping[str, Iterable[str]] | None = None, options: Options | None = None
) -> dict[str, Decision]:
    """Decisions about models published in the order given."""
    subjects = [
        Subject(s.id, sketch_of(w, s.id), s.created_at, s.declared)
        for s, w in zip(known(models, cards), models.values(), strict=True)
    ]
    return {d.model: d for d in decide(subjects, options or Options(detector=False))}


def test_a_model_is_no_noisy_copy_of_a_younger_one() -> None:
    original = start(1, LARGE)
    copy = noisy(original, 0.05)
    relations = [d.relation for d in decided({"copy": copy, "original": original}).values()]
    assert Relation.COPY_OF not in relations
    undated = decided({"copy": copy, "original": original}, options=Options(detector=False, dates=False))
    assert undated["copy"].relation is Relation.COPY_OF


def of_merge(decision: Decision) -> set[str]:
    return {name for name, _ in decision.merged_from}


@pytest.mark.slow
@pytest.mark.parametrize("by", ["dates", "cards"])
def test_an_original_is_no_mix_of_its_merges(by: str) -> None:
    """Four models on one line: any two of them explain the others."""
    models = star(children=3)
    models["light"], models["heavy"] = mean(models["t0"], models["t1"], 0.2), mean(models["t0"], models["t1"], 0.8)
    cards = {"light": ["t0", "t1"], "heavy": ["t0", "t1"]} if by == "cards" else None
    found = decided(models, cards, Options(detector=False, dates=by == "dates"))
    assert {name for name, one in found.items() if one.merged_from} == {"light", "heavy"}
    assert of_merge(found["light"]) == {"t0", "t1"} == of_merge(found["heavy"])


@pytest.mark.slow
def test_of_pairs_that_explain_a_merge_alike_the_one_that_its_card_names_has_made_it() -> None:
    models = star(children=3)
    models["light"], models["heavy"] = mean(models["t0"], models["t1"], 0.2), mean(models["t0"], models["t1"], 0.8)
    models["middle"] = mean(models["light"], models["heavy"], 0.4)
    cards = {"light": ["t0", "t1"], "heavy": ["t0", "t1"], "middle": ["light", "heavy"]}
    assert of_merge(decided(models, cards)["middle"]) == {"light", "heavy"}
    cards["middle"] = ["t0", "t1"]
    assert of_merge(decided(models, cards)["middle"]) == {"t0", "t1"}
    cards["middle"] = ["t0", "t2"]  # which the weights do not confirm
    assert of_merge(decided(models, cards)["middle"]) == {"t0", "t1"}


def test_tensors_of_two_older_models_are_a_stack_of_both() -> None:
    """By values alone it may be their parent, of which each trained what the other had frozen."""
    models = family(0.4)
    stack = models.pop("base")
    models["t0"] = with_parts_of(models["t0"], stack, {TABLE})
    models["t1"] = with_parts_of(models["t1"], stack, stack.keys() - {TABLE})
    models["stack"] = stack
    assert of_merge(decided(models)["stack"]) == {"t0", "t1"}
    assert not decided(models, options=Options(detector=False, dates=False))["stack"].merged_from
