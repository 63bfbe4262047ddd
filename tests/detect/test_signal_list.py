"""Every signal of the list is measured on a family, as one matrix [child, parent], and is shown by its own name and words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from lineage import detect
from lineage.detect.acceptance import certain_log_odds
from lineage.detect.decided_by import CERTAIN_TERM, by_signal
from lineage.detect.measurement import measure
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import families_of
from lineage.detect.signals.interface import Kind
from lineage.detect.signals.registry import SIGNALS, of_kind
from lineage.pages.words import EVIDENCE_WORDS
from tests.builders import sketch_of, start, tune

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def measured():
    """A model and its child, which has a later date and names it: [child, parent] is [1, 0]."""
    parent = start(1)
    first = Subject("parent", sketch_of(parent, "parent"), datetime(2024, 1, 1, tzinfo=UTC))
    second = Subject(
        "child", sketch_of(tune(parent, 2), "child"), datetime(2024, 2, 1, tzinfo=UTC), frozenset({"parent"})
    )
    (family,) = families_of([first, second], Options(), CPU)
    return measure(family, Options()).evidence


def test_tensors_of_pairs_say_child_before_parent() -> None:
    """The one order of axes; a table that is antisymmetric and about order alone may say [a, b]."""
    folder = Path(detect.__file__).parent
    said = {path.name: path.read_text() for path in folder.rglob("*.py")}
    assert sum(text.count("[child, parent]") for text in said.values()) > 10
    assert not [
        name
        for name, text in said.items()
        if re.search(r"float\d+, \[parent, child\]|\(m, m\).*\[parent, child\]", text)
    ]


def test_names_and_words_are_one_for_each_signal() -> None:
    assert len({signal.name for signal in SIGNALS}) == len(SIGNALS)
    assert all(signal.phrase and EVIDENCE_WORDS[signal.name] == signal.phrase for signal in SIGNALS)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_a_signal_is_a_matrix_of_child_and_parent(signal, measured) -> None:
    odds = measured.signals[signal.name]
    assert odds.shape == (2, 2) and odds.dtype == torch.float64 and odds.diagonal().tolist() == [0.0, 0.0]
    if signal.kind is not Kind.CLAIM:
        assert torch.equal(odds, -odds.T)
    if signal.name in ("growth", "detector", "dates", "declared"):
        assert float(odds[1, 0]) > 0, "the parent came before the child"


def test_evidence_that_is_added_as_it_is_comes_from_the_list(measured) -> None:
    assert list(certain_log_odds(1, 0, measured)) == [signal.name for signal in of_kind(Kind.CERTAIN)]
    assert torch.equal(measured.certain, sum(measured.signals[s.name].T for s in of_kind(Kind.CERTAIN)))


def test_what_certain_evidence_adds_is_named_by_the_signals_it_is_from() -> None:
    terms = {"inheritance": 1.0, CERTAIN_TERM: 3.0}
    assert by_signal(terms, {"counters": 0.0, "decay": 6.0}) == {"inheritance": 1.0, "decay": 3.0}
    assert by_signal(terms, {"counters": 4.0, "decay": 2.0}) == {"inheritance": 1.0, "counters": 2.0, "decay": 1.0}
    assert by_signal(terms, {"counters": 0.0, "decay": 0.0}) == terms
