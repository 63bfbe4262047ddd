"""PhyloLM: how related language models are, from what they answer to the same prompts, without a look at their weights.

A prompt is a gene, the first few characters that a model puts after it an allele. Over many answers a model has frequencies P(a | g), and

    S(p, q) = sum_g sum_a P_p(a | g) P_q(a | g) / sqrt(sum_g sum_a P_p(a | g)^2  sum_g sum_a P_q(a | g)^2),    D = -ln S

(Nei's genetic distance, Nei 1972), then a tree by neighbour joining. The tree has no direction, and no model is one of its inner nodes.
In: answers by model and prompt. Out: similarities, distances, a tree. Source: Yax, Oudeyer & Palminteri, ICLR 2025, "PhyloLM"
(arXiv 2404.04671): 128 genes, 32 answers a gene. Biopython joins the neighbours.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineage.graphdb.schema import Failure

CHARACTERS = 4  # of an answer that make the allele
LEAST_SIMILARITY = 1e-6  # models without a common allele are as far apart as this, not infinitely

Outputs = Mapping[str, Mapping[str, Mapping[str, float]]]  # model -> gene -> allele -> how often
Generate = Callable[[Any, Sequence[str], int, int], Sequence[Sequence[str]]]


class BadOutputs(Failure):
    """Answers of models that cannot be read or compared."""


@dataclass(frozen=True, slots=True)
class PhyloResult:
    """
    Attributes:
        models: in the order of rows and columns.
        similarity, distance: (m, m) float64, symmetric.
        genes: how many prompts all models answered.
    """

    models: tuple[str, ...]
    similarity: np.ndarray
    distance: np.ndarray
    genes: int


def read_outputs(path: Path, characters: int = CHARACTERS) -> Outputs:
    """A JSON file `{model: {prompt: [answer, ...]}}`; counts `{answer: number}` may replace the list.

    Raises:
        BadOutputs: it cannot be read, or is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadOutputs(f"cannot read {path}: {error}", "give a JSON file {model: {prompt: [answer, ...]}}") from error
    try:
        return {
            model: {gene: _count(said, characters) for gene, said in genes.items()} for model, genes in data.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise BadOutputs(
            f"{path} is not {{model: {{prompt: [answer, ...]}}}}: {error}",
            "a list of texts, or counts of texts, a prompt",
        ) from error


def outputs_of(answers: Mapping[str, Mapping[str, Sequence[str]]], characters: int = CHARACTERS) -> Outputs:
    """Counts of alleles from full answers, model -> prompt -> answers."""
    return {model: {gene: _count(said, characters) for gene, said in genes.items()} for model, genes in answers.items()}


def compare(outputs: Outputs) -> PhyloResult:
    """
    Raises:
        BadOutputs: fewer than two models, or no prompt that all of them answered.
    """
    models = tuple(outputs)
    if len(models) < 2:
        raise BadOutputs(f"{len(models)} model cannot be compared with others", "give the answers of two or more")
    genes = [g for g in outputs[models[0]] if all(sum(outputs[m].get(g, {}).values()) > 0 for m in models)]
    if not genes:
        raise BadOutputs("there is no prompt that all models answered", "give every model the same prompts")
    columns = {pair: i for i, pair in enumerate({(g, a): None for m in models for g in genes for a in outputs[m][g]})}
    frequency = np.zeros((len(models), len(columns)))
    for row, model in enumerate(models):
        for gene in genes:
            total = sum(outputs[model][gene].values())
            for allele, count in outputs[model][gene].items():
                frequency[row, columns[gene, allele]] = count / total
    products = frequency @ frequency.T  # (m, m)
    length = np.sqrt(products.diagonal())
    similarity = np.clip(products / (length[:, None] * length[None, :]), 0.0, 1.0)
    np.fill_diagonal(similarity, 1.0)
    return PhyloResult(models, similarity, -np.log(np.maximum(similarity, LEAST_SIMILARITY)), len(genes))


def neighbour_joining(models: Sequence[str], distance: np.ndarray) -> Any:
    """A Bio.Phylo tree whose leaves are the models; branches are never negative.

    Raises:
        BadOutputs: fewer than three models, or two of one name.
    """
    from Bio.Phylo.TreeConstruction import DistanceMatrix, DistanceTreeConstructor

    if len(models) < 3 or len(set(models)) < len(models):
        raise BadOutputs(f"a tree needs three or more models of different names, not {len(models)}")
    lower = [[float(distance[i, j]) for j in range(i)] + [0.0] for i in range(len(models))]
    tree = DistanceTreeConstructor().nj(DistanceMatrix(list(models), lower))
    for clade in tree.find_clades():
        clade.branch_length = max(0.0, clade.branch_length or 0.0)
        if not clade.is_terminal():
            clade.name = None
    return tree


def newick(tree: Any) -> str:
    """The tree in Newick's notation, one line."""
    from Bio import Phylo

    text = io.StringIO()
    Phylo.write(tree, text, "newick", format_branch_length="%.6f")
    return text.getvalue().strip()


def drawn(tree: Any) -> str:
    """The tree in characters, for people."""
    from Bio import Phylo

    text = io.StringIO()
    Phylo.draw_ascii(tree, text)
    return text.getvalue().rstrip()


def collect(
    models: Mapping[str, Callable[[], Any]], generate: Generate, prompts: Sequence[str], samples: int, seed: int
) -> dict[str, dict[str, list[str]]]:
    """Answers of models that are run here.

    Args:
        models: name -> gives its tensors. generate: the caller's function (tensors, prompts, samples, seed) -> `samples` texts a prompt.
    Raises:
        BadOutputs: it failed, or gave something else.
    """
    answers: dict[str, dict[str, list[str]]] = {}
    for name, tensors in models.items():
        try:
            said = [list(texts) for texts in generate(tensors(), prompts, samples, seed)]
        except Failure:
            raise
        except Exception as error:  # the caller's own code: whatever it raises is said
            raise BadOutputs(
                f"generating with {name} failed: {type(error).__name__}: {error}",
                "the function is called with tensors by name, prompts, the number of samples, and a seed",
            ) from error
        if len(said) != len(prompts) or not all(isinstance(text, str) for texts in said for text in texts):
            raise BadOutputs(f"the function gave no list of texts for each of {len(prompts)} prompts with {name}")
        answers[name] = dict(zip(prompts, said, strict=True))
    return answers


def _count(said: Any, characters: int) -> dict[str, float]:
    pairs = said.items() if isinstance(said, Mapping) else ((text, 1) for text in said)
    counts: Counter[str] = Counter()
    for text, number in pairs:
        if not isinstance(text, str) or not math.isfinite(number) or number < 0:
            raise ValueError(f"{text!r}: {number!r} is no answer and how often it came")
        counts[text[:characters] if characters else text] += number
    return dict(counts)
