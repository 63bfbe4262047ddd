"""PhyloLM: the formula against a slow reference, trees whose shape is known, and the command."""

from __future__ import annotations

import io
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from Bio import Phylo
from safetensors.torch import save_file

from lineage.detect.methods.phylolm import (
    BadOutputs,
    collect,
    compare,
    neighbour_joining,
    newick,
    outputs_of,
    read_outputs,
)
from tests.cli.command import command_at
from tests.detect.methods import networks


def random_answers(seed: int, models: int = 5, genes: int = 6, answers: int = 9) -> dict[str, dict[str, list[str]]]:
    dice = random.Random(seed)
    return {
        f"m{i}": {f"gene {g}": ["".join(dice.choices("ab", k=5)) for _ in range(answers)] for g in range(genes)}
        for i in range(models)
    }


def test_similarity_is_neis_formula_over_frequencies_of_the_first_four_characters() -> None:
    answers = random_answers(0)
    found = compare(outputs_of(answers))
    for i, one in enumerate(answers):
        for j, other in enumerate(answers):
            above = below_one = below_other = 0.0
            for gene in answers[one]:
                mine, theirs = ([text[:4] for text in answers[m][gene]] for m in (one, other))
                for allele in {*mine, *theirs}:
                    p, q = mine.count(allele) / len(mine), theirs.count(allele) / len(theirs)
                    above, below_one, below_other = above + p * q, below_one + p * p, below_other + q * q
            expected = above / math.sqrt(below_one * below_other)
            assert found.similarity[i, j] == pytest.approx(expected)
            assert found.distance[i, j] == pytest.approx(-math.log(expected), abs=1e-12)


def test_counts_stand_for_lists_and_shorter_alleles_merge(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"a": {"g": ["abcde", "abcdf", "x"]}, "b": {"g": {"abcd": 2, "x": 1}}}))
    assert compare(read_outputs(path)).similarity[0, 1] == pytest.approx(1)
    assert compare(read_outputs(path, characters=0)).similarity[0, 1] < 1


def test_models_without_a_common_answer_are_far_apart_not_infinitely() -> None:
    found = compare(outputs_of({"a": {"g": ["x"]}, "b": {"g": ["y"]}}))
    assert found.similarity[0, 1] == 0 and np.isfinite(found.distance).all()


def test_neighbour_joining_finds_the_tree_of_additive_distances() -> None:
    names = ["a", "b", "c with space", "d"]
    distance = np.array([[0, 3, 8, 9], [3, 0, 9, 10], [8, 9, 0, 5], [9, 10, 5, 0]], dtype=float)
    text = newick(neighbour_joining(names, distance))
    tree = Phylo.read(io.StringIO(text), "newick")
    assert sorted(leaf.name for leaf in tree.get_terminals()) == sorted(names)
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            assert tree.distance(one, other) == pytest.approx(distance[i, j])


@pytest.mark.parametrize(
    "content, says",
    [
        ("[1]", "is not {model"),
        ('{"a": {"g": [1]}}', "is no answer"),
        ('{"a": {"g": {"x": -1}}}', "is no answer"),
        ('{"a": {"g": ["x"]}}', "1 model cannot be compared"),
        ('{"a": {"g": ["x"]}, "b": {"h": ["x"]}}', "no prompt that all models answered"),
        ('{"a": {"g": ["x"]}, "b": {"g": []}}', "no prompt that all models answered"),
        ("{", "cannot read"),
    ],
)
def test_bad_answers_are_said_in_one_line(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "answers.json"
    path.write_text(content)
    with pytest.raises(BadOutputs, match=says):
        compare(read_outputs(path))


def test_a_tree_needs_three_models() -> None:
    with pytest.raises(BadOutputs, match="three or more"):
        neighbour_joining(["a", "b"], np.zeros((2, 2)))


def test_a_function_that_does_not_answer_is_said_with_the_model_it_failed_on() -> None:
    with pytest.raises(BadOutputs, match="generating with a failed: ZeroDivisionError"):
        collect({"a": dict}, lambda tensors, prompts, samples, seed: 1 / 0, ["p"], 2, 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(BadOutputs, match="gave no list of texts"):
        collect({"a": dict}, lambda tensors, prompts, samples, seed: [], ["p"], 2, 0)


def say(tensors: dict[str, object], prompts: list[str], samples: int, seed: int) -> list[list[str]]:
    """Answers that depend on the weights: what the command is given as --generate in the test below."""
    first = float(tensors["layers.0.weight"].sum())  # type: ignore[attr-defined]
    dice = random.Random(f"{first:.1f} {seed}")
    return [["".join(dice.choices("ab", k=4)) for _ in range(samples)] for _ in prompts]


@pytest.mark.slow
def test_the_command_asks_models_keeps_their_answers_and_draws_the_tree(tmp_path: Path) -> None:
    for i in range(4):
        save_file(networks.start(i), tmp_path / f"m{i}.safetensors")
    (tmp_path / "prompts.txt").write_text("one\ntwo\n\nthree\n")
    kept, lineage = tmp_path / "answers.json", command_at(tmp_path)
    asked = ["--models", tmp_path, "--generate", f"{__name__}:say", "--prompts", tmp_path / "prompts.txt"]
    done = lineage("phylolm", *asked, "--keep", kept, "--samples", 5, "--json")
    assert done.code == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["models"]) == 4 and told["genes"] == 3
    assert all(len(texts) == 5 for genes in json.loads(kept.read_text()).values() for texts in genes.values())
    again = lineage("phylolm", kept, "--newick")
    assert again.stdout.strip() == told["newick"]
    shown = lineage("phylolm", kept)
    assert "3 prompts that all of them answered" in shown.stdout and shown.stdout.count("m0") >= 2
    assert lineage("phylolm").code == 2
