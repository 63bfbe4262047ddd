"""What is said of two models is said of as much of them as was compared."""

from __future__ import annotations

import pytest

from lineage.detect.decision import AnswerKind, Candidate, Decision
from lineage.detect.overlap import lowered
from lineage.detect.reasons import Reason


@pytest.mark.parametrize("key", ["equal_body", "equal_bodies"])
def test_equal_bodies_are_equal_in_what_both_have(key: str) -> None:
    reason = Reason(key, models={"models": ("one", "two")}).and_then(Reason("equal_body_first", {"count": 2}))
    whole = Decision("one", AnswerKind.UNDECIDED, 0.5, candidates=(Candidate("two", 0.5),), reason=reason)
    said = str(lowered(whole, 0.51, 0.8).reason)
    assert "equal bit for bit, 51 % of the smaller model; " in said and "bod" not in said.partition(";")[0]
    assert str(whole.reason).startswith(("every weight of its body is equal", "the bodies of one and two are equal"))
