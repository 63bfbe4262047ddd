"""The parent is one of several models with the same weights: the answer names the others, and cards may name any."""

from __future__ import annotations

from lineage.detect.arrays import torch
from lineage.detect.decision import AnswerKind, Decision
from lineage.detect.explain import explain
from lineage.detect.model_input import Subject
from lineage.detect.options import Options
from lineage.detect.pipeline import decide
from lineage.detect.report import Scan, ScannedModel, as_json, ties
from lineage.graphdb.schema import Declaration
from lineage.pages.scan_source import scanned
from tests.builders import sketch_of, start, three_generations

MODELS, _ = three_generations()
EQUAL = {"bob/clone": "b", "elm/again": "b", "acme/original": "b"}


def family() -> list[Subject]:
    weights = {"root": "a", **EQUAL, "child": "ba", "sister": "c"}
    return [Subject(name, sketch_of(MODELS[of], name)) for name, of in weights.items()]


def decided(subjects: list[Subject]) -> dict[str, Decision]:
    return {decision.model: decision for decision in decide(subjects)}


def test_models_with_the_same_weights_as_the_parent_are_named() -> None:
    found = decided(family())["child"]
    others = sorted(EQUAL.keys() - {found.parent})
    assert found.parent in EQUAL and f"{found.parent} has the same weights as {' and '.join(others)}" in str(
        found.reason
    )
    assert "has the same weights" not in str(decided(family())["sister"].reason)


def test_cards_that_name_copies_agree_in_a_folder() -> None:
    claims = {"child": "elm/again", "bob/clone": "elm/again"}
    subjects = family()
    scan = Scan([ScannedModel(s.id, s.sketch.signature, s.sketch.digest) for s in subjects], decide(subjects), {})

    class Card:
        license = None

        def __init__(self, child: str, base: str):
            self.claims = (Declaration(child, base, None, "card"),)

    found = scanned(as_json(scan), {child: Card(child, base) for child, base in claims.items()}, ties(scan))
    assert {found.members[child].outcome for child in claims} == {"agree"}


def test_a_stranger_has_no_relatives_where_two_models_are_explained() -> None:
    one, other = (Subject(name, sketch_of(start(seed), name)) for name, seed in (("one", 5), ("other", 6)))
    found = explain(one, other, [], Options(), torch.device("cpu"))
    assert found.decision.answer is AnswerKind.NO_RELATIVES and found.tells
