"""Examples: families as detection sees them, with the truth that belongs to each."""

from __future__ import annotations

from lineage.detect.detector.examples import ROOT, UNKNOWN, examples_of
from tests.detect.detector.families import CPU, truth_of


def by_name(example):
    return {
        model: example.models[p] if p >= 0 else int(p)
        for model, p in zip(example.models, example.parent.tolist(), strict=True)
    }


def test_families_part_where_models_are_not_related_and_copies_are_left_out():
    truth, sketches = truth_of()
    family, others = sorted(examples_of("one", truth, sketches, CPU), key=lambda e: -len(e.models))
    assert by_name(family) == {"a": ROOT, "b": "a", "c": "a", "d": "a", "ba": "b", "bb": "b", "ca": "c", "baa": "ba"}
    assert by_name(others) == {"other": ROOT, "others": "other"}


def test_what_is_not_known_is_not_asked():
    truth, sketches = truth_of()
    truth["unknown"] = ["ca"]
    truth["pairs"].append({"child": "bb", "parent": "c", "relation": "merge"})
    family = max(examples_of("one", truth, sketches, CPU), key=lambda e: len(e.models))
    assert {model for model, p in by_name(family).items() if p == UNKNOWN} == {"bb", "ca"}


def test_models_of_one_frozen_body_stand_as_one():
    truth, sketches = truth_of()
    twin = dict(sketches)
    twin["ba"] = twin["b"]  # nothing of it was trained
    family = max(examples_of("one", truth, twin, CPU), key=lambda e: len(e.models))
    assert "ba" not in family.models
    assert by_name(family)["baa"] == "b"
