"""Scores and training of the benches of Neural Phylogeny and of 300 models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from bench.datasets import Data
from bench.families import read_truth
from bench.papers.kept import KeptAnswers
from bench.papers.neural_phylogeny import PaperConv, halves, most_probable, planned
from bench.papers.scores import ancestors, links, score, spread
from bench.papers.study_300 import GENERATIONS
from bench.papers.study_300 import planned as planned_study
from bench.papers.trained import PlannedNetwork, Zoo, build_zoo
from lineage.detect.decision import AnswerKind, Candidate, Decision

TRUTH = {"r": None, "a": "r", "b": "r", "aa": "a", "s": None, "c": "s"}


def test_a_right_answer_scores_one() -> None:
    found = score(TRUTH, TRUTH)
    assert (found.overall, found.lineage, found.direction, found.linked) == (1.0, 1.0, 1.0, 1.0)


def test_a_turned_edge_keeps_the_family_and_loses_the_direction() -> None:
    found = score(TRUTH, {**TRUTH, "r": "a", "a": None})
    assert found.overall == pytest.approx(4 / 6)
    assert found.lineage == 1.0
    assert found.direction == pytest.approx(3 / 4)


def test_no_answer_is_a_wrong_one() -> None:
    said = {name: parent for name, parent in TRUTH.items() if name not in ("r", "c")}
    found = score(TRUTH, said)
    assert found.overall == pytest.approx(4 / 6)
    assert found.lineage == pytest.approx(
        1 / 4
    )  # a and b hang on r, of which nothing is said; only aa is with its parent


def test_links_over_generations_are_counted_where_they_exist() -> None:
    assert links(TRUTH, TRUTH, 1) == (4, 4)
    assert links(TRUTH, TRUTH, 2) == (1, 1)
    assert links(TRUTH, {**TRUTH, "a": "b"}, 2) == (0, 1)
    assert links(TRUTH, {"aa": "a", "a": "aa"}, 2) == (0, 1)
    assert ancestors({"x": "y", "y": "x"}, "x") == ["y", "x"]


def test_spread_names_mean_deviation_and_worst() -> None:
    found = spread([1.0, 0.5, 0.0])
    assert found.mean == 0.5 and found.worst == 0.0 and found.text() == "0.500 ± 0.408 (0.000)"


def test_halves_keep_three_parents_and_half_of_their_children() -> None:
    truth = {m.id: m.parent for m in planned("mnist", 1.0, True)}
    whole, part = halves(truth, 1, 0)
    assert whole == truth and len(truth) == 4 * 7
    assert sum(parent is None for parent in part.values()) == 3 and len(part) == 3 * 4
    assert all(parent is None or parent in part for parent in part.values())


def test_the_paper_s_grid_is_planned() -> None:
    models = planned("mnist", 1.0, False)
    parents = [m for m in models if m.parent is None]
    assert len({(m.learning_rate, m.batch, m.start) for m in parents}) == 8
    for parent in parents:
        own = [m for m in models if m.parent == parent.id]
        assert {(m.learning_rate, m.batch) for m in own} == {(lr, b) for lr in (1e-2, 1e-3, 1e-4) for b in (32, 128)}


def test_the_study_has_300_models_of_four_generations() -> None:
    models = planned_study(GENERATIONS, 0)
    parents = {m.id: m.parent for m in models}
    assert len(models) == len(parents) == 300
    assert {len(ancestors(parents, name)) for name in parents} == {0, 1, 2, 3}
    source = {m.id: m.source for m in models}
    assert all(m.parent is None or source[m.parent] != m.source for m in models)


def test_ours_without_abstaining_names_the_most_probable() -> None:
    tie = Decision("x", AnswerKind.UNDECIDED, 0.4, candidates=(Candidate("a", 0.4), Candidate("b", 0.3)))
    assert most_probable(tie) == "a"
    assert most_probable(replace(tie, candidates=(Candidate("a", 0.4),))) is None
    assert most_probable(Decision("x", AnswerKind.ROOT, 0.9)) is None


@pytest.mark.slow
def test_a_zoo_is_trained_once_and_goes_on_where_it_was(tmp_path: Path) -> None:
    models = tuple(
        PlannedNetwork(name, parent, int(parent is not None), "mnist", "adam", 1e-3, 8, 3, seed)
        for seed, (name, parent) in enumerate([("p", None), ("q", None), ("p-c", "p")])
    )
    zoo = Zoo(lambda: PaperConv(1), 16, 1, models)
    build_zoo(tmp_path, zoo, Data(None))
    first = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert first.keys() == {"p.safetensors", "q.safetensors", "p-c.safetensors"}
    assert read_truth(tmp_path).parent == {"p-c": "p"}
    (tmp_path / "p-c.safetensors").unlink()
    trained: list[str] = []
    build_zoo(tmp_path, zoo, Data(None), trained.append)
    assert len(trained) == 1 and (tmp_path / "p-c.safetensors").read_bytes() == first["p-c.safetensors"]
    parent, child = (load_file(tmp_path / f"{name}.safetensors") for name in ("p", "p-c"))
    moved = (parent["conv1.weight"] - child["conv1.weight"]).abs().max()
    assert 0 < float(moved) < 0.01  # three steps of Adam


def test_answers_of_published_methods_are_kept_until_the_models_change_and_ours_never_are(tmp_path: Path) -> None:
    asked, counts = {"seed": "0"}, {"np-kmeans": 0, "lineage": 0, "lineage, always answering": 0}

    def ask(method: str) -> None:
        def work() -> dict[str, str | None]:
            counts[method] += 1
            return {"a": None, "b": "a"}

        kept = KeptAnswers(tmp_path)
        assert kept.parents(method, asked, work) == {"a": None, "b": "a"}
        kept.write()

    (tmp_path / "plan.txt").write_text("one plan")
    for method in counts:
        ask(method)
        ask(method)
    assert counts == {"np-kmeans": 1, "lineage": 2, "lineage, always answering": 2}
    (tmp_path / "plan.txt").write_text("another plan")
    ask("np-kmeans")
    assert counts["np-kmeans"] == 2
