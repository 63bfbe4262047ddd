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
