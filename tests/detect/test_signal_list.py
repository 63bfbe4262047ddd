"""Every signal of the list is measured on a family, as one matrix [child, parent], and is shown by its own name and words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lineage import detect
from lineage.detect import acceptance
from lineage.detect.acceptance import certain_log_odds
from lineage.detect.align import Layer, Part
from lineage.detect.decided_by import CERTAIN_TERM, by_signal
from lineage.detect.measurement import measure
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide, families_of
from lineage.detect.signals.decay import LOG_ODDS as DECAY_LOG_ODDS
from lineage.detect.signals.interface import Kind
from lineage.detect.signals.pairs import by_child_and_parent, pair_evidence
from lineage.detect.signals.registry import SIGNALS, of_kind
from lineage.detect.tree import Evidence
from lineage.pages.words import EVIDENCE_WORDS
from tests.builders import sketch_of, start, tune

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def measurement():
    """A model and its child, which has a later date and names it: [child, parent] is [1, 0]."""
    parent = start(1)
    first = Subject("parent", sketch_of(parent, "parent"), datetime(2024, 1, 1, tzinfo=UTC))
    second = Subject(
        "child", sketch_of(tune(parent, 2), "child"), datetime(2024, 2, 1, tzinfo=UTC), frozenset({"parent"})
    )
    (family,) = families_of([first, second], Options(), CPU)
    return measure(family, Options())


@pytest.fixture(scope="module")
def measured(measurement):
    return measurement.evidence


def test_tensors_of_pairs_say_child_before_parent() -> None:
    """The one order of axes."""
    folder = Path(detect.__file__).parent
    said = {path.name: path.read_text() for path in folder.rglob("*.py")}
    assert sum(text.count("[child, parent]") for text in said.values()) > 20
    other_orders = re.compile(r"(float\d+|\(m, m\)|log-odds)[^\n]*\[(parent, child|a, b|s, b|root, child)\]")
    assert not [name for name, text in said.items() if other_orders.search(text)]


@pytest.mark.parametrize("name", ["growth_z", "growth_gamma", "direction", "balance"])
def test_what_is_measured_on_pairs_is_positive_where_the_parent_came_first(name, measurement) -> None:
    odds = getattr(measurement.pairs, name)
    assert float(odds[1, 0]) > 0
    assert float(odds[0, 1]) == -float(odds[1, 0])


def test_bare_decay_is_positive_where_the_parent_came_first() -> None:
    """Half of the child's values are the parent's, shrunk by one factor."""
    dice = np.random.default_rng(1)
    parent = dice.standard_normal((40, 64)).astype(np.float32)
    child = np.where(np.arange(40)[:, None] < 20, 0.999 * parent, parent + dice.standard_normal((40, 64)))
    values = torch.from_numpy(np.stack([parent, child.astype(np.float32)]))
    pair = torch.tensor([[0, 1]])
    found = pair_evidence([Layer("a.weight", 0.0, Part.BODY, values[0].numel(), values)], pair, pair)
    assert found.decay.tolist() == [[0, -DECAY_LOG_ODDS], [DECAY_LOG_ODDS, 0]]


def test_values_of_pairs_are_filed_by_child_and_parent() -> None:
    """Model 0 came before model 2, model 2 before model 1."""
    odds = by_child_and_parent(torch.tensor([3.0, -5.0]).double(), torch.tensor([[0, 2], [1, 2]]), 3, torch.nan)
    assert odds[2, 0] == 3 and odds[0, 2] == -3 and odds[1, 2] == 5 and odds[2, 1] == -5
    assert bool(odds[0, 1].isnan()) and bool(odds[1, 0].isnan()) and bool(odds.diagonal().isnan().all())


def test_distances_on_edges_are_relative_to_the_parent() -> None:
    """The child is twice as long as its parent, so that the other order would give half of the distance."""
    parent = start(1)
    child = {name: 2 * value for name, value in tune(parent, 2).items()}
    subjects = [Subject(name, sketch_of(models, name)) for name, models in (("parent", parent), ("child", child))]
    (found,) = [d for d in decide(subjects, Options(threshold=0.0)) if d.model == "child"]
    flat, other = (np.concatenate([v.ravel() for v in models.values()]) for models in (parent, child))
    expected = np.linalg.norm(other - flat) / np.linalg.norm(flat)
    assert found.parent == "parent"
    assert found.evidence["relative_distance"] == pytest.approx(expected, rel=0.05)


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


def test_evidence_keeps_the_axes_of_its_signals() -> None:
    odds = {s.name: torch.tensor([[0.0, -i], [i, 0.0]], dtype=torch.float64) for i, s in enumerate(SIGNALS, start=1)}
    evidence = Evidence(
        odds,
        even=torch.zeros(2, 2, dtype=torch.float64),
        upright=torch.ones(2, 2, dtype=torch.float64),
        of_another=torch.ones(2, 2, dtype=torch.bool),
    )
    for name in ("growth", "detector", "dates", "declared"):
        assert torch.equal(getattr(evidence, name), odds[name])
    assert torch.equal(evidence.certain, sum(odds[s.name] for s in of_kind(Kind.CERTAIN)))
    counted = evidence.certain - evidence.certain_of_ancestor
    speaks_for_others = odds["decay"].clamp(min=0) + odds["heads"].clamp(min=0)
    assert torch.equal(counted, speaks_for_others), "that the child is no ancestor counts all the same"


def test_what_certain_evidence_adds_is_named_by_the_signals_it_is_from() -> None:
    terms = {"inheritance": 1.0, CERTAIN_TERM: 3.0}
    assert by_signal(terms, {"counters": 0.0, "decay": 6.0}) == {"inheritance": 1.0, "decay": 3.0}
    assert by_signal(terms, {"counters": 4.0, "decay": 2.0}) == {"inheritance": 1.0, "counters": 2.0, "decay": 1.0}
    assert by_signal(terms, {"counters": 0.0, "decay": 0.0}) == terms


def test_an_edge_is_not_said_to_be_decided_by_what_is_silent_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decay between other models may have moved the choice of the root."""
    monkeypatch.setattr(acceptance, "root_terms", lambda *_: {"decay": 5.0, "centre": 1.0})
    monkeypatch.setattr(acceptance, "ancestor_terms", lambda *_: {"inheritance": 2.0})
    for odds, kinds in ((0.0, ("inheritance", "centre")), (6.0, ("decay", "inheritance", "centre"))):
        told = torch.tensor([[0.0, odds], [-odds, 0.0]], dtype=torch.float64)
        signals = {s.name: told if s.name == "decay" else torch.zeros_like(told) for s in SIGNALS}
        evidence = Evidence(signals, *[torch.zeros_like(told)] * 3)
        family = SimpleNamespace(evidence=evidence, tree=None)
        assert acceptance._decided_by(0, 1, family) == kinds  # type: ignore[arg-type]
