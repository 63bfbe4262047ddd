"""The list of methods, and how what they are told is checked."""

from __future__ import annotations

import importlib

import pytest

from lineage.detect.methods.registry import (
    METHODS,
    PLAIN,
    BadSetting,
    NeedsMore,
    UnknownMethod,
    decide_with,
    method,
    read_settings,
    settings_of,
)
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.graphdb.schema import Failure
from tests.detect.methods.models import CPU, asked, subjects_of, two_families

WEIGHTS_ONLY = [m.name for m in METHODS if m.needs == "weights"]


@pytest.mark.parametrize("known", METHODS, ids=lambda m: m.name)
def test_every_method_names_code_that_is_there_and_its_source(known) -> None:
    module, _, function = known.load.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert known.summary and known.source
    assert len({setting.name for setting in known.settings}) == len(known.settings)


def test_names_are_unique_and_ours_is_first() -> None:
    names = [m.name for m in METHODS]
    assert names[0] == PLAIN and len(set(names)) == len(names)


def test_an_unknown_method_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UnknownMethod) as failure:
        method("kmeans")
    assert "np-kmeans" in (failure.value.try_next or "")


def test_an_unknown_option_is_told_with_those_that_the_method_has() -> None:
    with pytest.raises(BadSetting) as failure:
        read_settings("np-kmeans", ["cluster=3"])
    assert "clusters" in (failure.value.try_next or "")


@pytest.mark.parametrize(
    "pairs",
    [["clusters"], ["=3"], ["clusters=3", "clusters=4"], ["clusters=many"], ["start=zero"], ["alpha=half"]],
)
def test_options_that_cannot_be_read_are_refused(pairs: list[str]) -> None:
    with pytest.raises(BadSetting):
        read_settings("np-kmeans", pairs)


def test_values_have_the_type_of_the_default() -> None:
    found = settings_of("np-kmeans", {"clusters": "3", "alpha": "0.5"})
    assert found["clusters"] == 3 and found["alpha"] == 0.5 and found["start"] == "uniform"


def test_the_default_method_is_the_pipeline() -> None:
    subjects = subjects_of(two_families()[0])
    assert asked(PLAIN, subjects) == decide(subjects, Options(), CPU)


def test_a_method_of_forward_passes_says_what_it_needs() -> None:
    with pytest.raises(NeedsMore) as failure:
        decide_with("nl-cka", subjects_of(two_families()[0]), Options(), CPU)
    assert "--forward" in (failure.value.try_next or "")


@pytest.mark.parametrize("name", [name for name in WEIGHTS_ONLY if name != PLAIN])
def test_one_model_alone_is_a_failure_of_one_line(name: str) -> None:
    models, _ = two_families()
    with pytest.raises(Failure) as failure:
        asked(name, subjects_of({"a": models["a"]}))
    assert "\n" not in failure.value.message


@pytest.mark.parametrize("name", [n for n in WEIGHTS_ONLY if n not in (PLAIN, "np-detector", "atlas")])
def test_decisions_come_in_the_order_of_the_models_and_twice_the_same(name: str) -> None:
    models, _ = two_families(2)
    subjects = subjects_of(models)
    first = asked(name, subjects)
    assert [decision.model for decision in first] == list(models)
    assert first == asked(name, subjects)
    if name != PLAIN:
        assert all(d.decided_by == (name,) for d in first)
