"""What the benches of published methods are built of: generations with their truth, splits of trees, tuning of tiny language models."""

from __future__ import annotations

import io

import pytest
import torch
from Bio import Phylo

from bench.datasets import ALPHABET
from bench.papers.black_box import tree_splits, true_splits
from bench.papers.cross_generation import cells_of
from bench.papers.generations import QUICK, Plan, members_of
from bench.papers.hybrid import SMALL, TENTH, planned
from bench.papers.text_models import Recipe, answers, fresh, more_rows, tune

SIZES: dict[str, object] = {"width": 8, "depth": 1, "heads": 2, "context": 32}


def tokens() -> torch.Tensor:
    return torch.randint(len(ALPHABET), (400,), generator=torch.Generator().manual_seed(0))


def test_every_child_of_a_plan_has_its_parent_one_generation_before_and_another_set() -> None:
    members = {m.id: m for m in members_of(Plan())}
    assert len(members) == 8 + 24 + 48 + 96 + 3 * 24
    for member in members.values():
        if member.parent is not None:
            parent = members[member.parent]
            assert parent.generation == member.generation - 1 and parent.source != member.source
    assert members_of(Plan()) == members_of(Plan())


def test_the_truth_of_a_cell_is_the_ancestor_in_its_generation() -> None:
    cells = {cell.name: cell for cell in cells_of(members_of(QUICK))}
    assert len(cells) == 9
    cell = cells["G1→G4"]
    assert all(child.startswith("g4-" + truth.removeprefix("g1-") + "-") for child, truth in cell.truth.items())
    assert all(set(c.truth.values()) <= set(c.candidates) for c in cells.values())


def test_hybrids_take_each_block_from_another_candidate_and_some_one_from_outside() -> None:
    for hybrid in planned(SMALL):
        assert len(set(hybrid.blocks)) == 9 and TENTH not in hybrid.candidates
        assert set(hybrid.blocks) <= {*hybrid.candidates, TENTH}
    assert any(TENTH in hybrid.blocks for hybrid in planned(SMALL))


def test_splits_of_the_true_tree_are_its_subtrees_and_a_tree_that_has_them_all_has_distance_zero() -> None:
    parents = {"a": None, "b": "a", "c": "a", "bb": "b", "bc": "b"}
    truth = true_splits(parents)
    assert truth == {frozenset({"b", "bb", "bc"})}
    assert tree_splits(Phylo.read(io.StringIO("(a,c,(b,bb,bc));"), "newick")) == truth
    assert tree_splits(Phylo.read(io.StringIO("(a,b,(c,bb),bc);"), "newick")).isdisjoint(truth)


@pytest.mark.slow
def test_a_merged_adapter_changes_matrices_by_low_rank_and_nothing_else() -> None:
    network, start = fresh("gpt", SIZES, 1)
    tuned = tune(network, start, tokens(), Recipe(steps=3, rate=0.01, seed=2, batch=2, rank=2))
    for name, value in start.items():
        change = tuned[name] - value
        if name.endswith("weight") and value.ndim == 2 and not name.startswith(("wte", "wpe")):
            assert int(torch.linalg.matrix_rank(change, rtol=1e-3)) <= 2 and float(change.abs().max()) > 0
        elif name.startswith(("wte", "ln_f")):
            assert torch.equal(tuned[name], value)


def test_new_vocabulary_rows_leave_the_old_ones_alone_and_answers_have_the_length_asked_for() -> None:
    network, start = fresh("gpt", SIZES, 1)
    grown = more_rows(start, len(ALPHABET) + 3, 5)
    assert torch.equal(grown["wte.weight"][: len(ALPHABET)], start["wte.weight"])
    assert len(grown["wte.weight"]) == len(ALPHABET) + 3
    said = answers(network, start, tokens()[:20].view(2, 10), samples=3, length=4, seed=1)
    assert len(said) == 2 and all(len(texts) == 3 and all(len(t) == 4 for t in texts) for texts in said)
    assert said == answers(network, start, tokens()[:20].view(2, 10), samples=3, length=4, seed=1)
