"""What cards beside a folder's models say, weighed with what was found there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lineage.graphdb.schema import Declaration
from lineage.pages.scan_source import scanned


def folder(architecture: str, answer: str) -> dict[str, Any]:
    models = [{"id": i, "signature": s, "digest": i} for i, s in (("base", "a"), ("child", architecture))]
    own = {"model": "child", "probability": 0.9, "reason": "none is related"}
    return {"models": models, "edges": [], "undecided": [], "unreadable": [], answer: [own]}


@pytest.mark.parametrize(
    ("architecture", "answer", "outcome"),
    [
        ("a+b", "roots", "contradicts"),
        ("a", "no_relatives", "contradicts"),
        ("c", "no_relatives", "cannot tell"),
        ("c", "roots", "cannot tell"),
    ],
)
def test_a_claim_about_what_was_never_compared_is_not_contradicted(
    architecture: str, answer: str, outcome: str
) -> None:
    card = SimpleNamespace(claims=(Declaration("child", "org/base", None, "card"),), license=None)
    found = scanned(folder(architecture, answer), {"child": card}).members["child"]
    assert found.outcome == outcome, found.outcome_reason


def family(*edges: tuple[str, str, str]) -> dict[str, Any]:
    """A folder with a stranger `x`; edges: child, relation, parent."""
    names = dict.fromkeys(["x", "child", *(name for child, _, parent in edges for name in (child, parent))])
    evidence: dict[str, Any] = {"probability": 0.99, "evidence": {}, "decided_by": []}
    rows = [{"child": c, "relation": relation, "parent": p, **evidence} for c, relation, p in edges]
    models = [{"id": name, "signature": "a", "digest": name} for name in names]
    return {"models": models, "edges": rows, "undecided": [], "unreadable": []}


MERGED = [("child", "MERGED_FROM", "one"), ("child", "MERGED_FROM", "two"), ("one", "FINE_TUNED_FROM", "base")]
COPIED = [("child", "COPY_OF", "one"), ("one", "FINE_TUNED_FROM", "base"), ("two", "FINE_TUNED_FROM", "base")]
PACKED = [("child", "QUANTIZED_FROM", "one"), ("one", "FINE_TUNED_FROM", "base")]


@pytest.mark.parametrize(
    ("edges", "relation", "bases", "outcome", "words"),
    [
        (MERGED, "merge", ["one", "two"], "agree", "one is declared and found in the weights"),
        (MERGED, "merge", ["base", "one", "two"], "agree", "found in the weights"),
        (MERGED, "merge", ["one", "elsewhere"], "agree", "elsewhere is declared and not in this folder"),
        (MERGED, "merge", ["one", "x"], "cannot tell", "x is declared; the weights are not related to it"),
        (COPIED, "merge", ["one", "two"], "cannot tell", "has the weights of one, which is none"),
        ([*COPIED[:1], *MERGED[:0], ("one", "MERGED_FROM", "two")], "merge", ["one", "two"], "agree", "found"),
        (PACKED, "quantized", ["base"], "contradicts", "the values are those of one, and base has others"),
        (PACKED, "quantized", ["one"], "agree", "found"),
        (PACKED, None, ["base"], "agree", "found"),
    ],
)
def test_every_base_of_a_card_is_judged(
    edges: list[tuple[str, str, str]], relation: str | None, bases: list[str], outcome: str, words: str
) -> None:
    claims = tuple(Declaration("child", base, relation, "card") for base in bases)
    found = scanned(family(*edges), {"child": SimpleNamespace(claims=claims, license=None)}).members["child"]
    assert (found.outcome, words in (found.outcome_reason or "")) == (outcome, True), found.outcome_reason


def test_a_copy_of_a_part_is_no_copy_of_the_model() -> None:
    """With a frozen encoder, and a decoder that was trained, a model does not hold for the base of a card that names it."""
    document = family(
        ("frozen", "FINE_TUNED_FROM", "base"), ("frozen", "COPY_OF", "base"), ("child", "FINE_TUNED_FROM", "base")
    )
    document["edges"][1]["evidence"] = {"part": "encoder"}
    card = SimpleNamespace(claims=(Declaration("child", "frozen", None, "card"),), license=None)
    found = scanned(document, {"child": card}).members["child"]
    assert "same weights" not in (found.outcome_reason or "") and found.outcome != "agree"
    document["edges"][1]["evidence"] = {}
    found = scanned(document, {"child": card}).members["child"]
    assert (found.outcome, "same weights" in (found.outcome_reason or "")) == ("agree", True)
