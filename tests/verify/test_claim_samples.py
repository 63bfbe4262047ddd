"""A card that names a relative: what the values say of the line of descent."""

from __future__ import annotations

import pytest

from lineage.pages.members import EdgeFacts, Member
from lineage.pages.scanned_claims import ScannedClaims
from lineage.verify.claim_samples import SampledClaims
from tests.builders import sketch_of, start, tune

BASE = start(1)
SISTER = tune(BASE, 2)
LONG = {
    name: (0.3 * v + 0.95 * start(5)[name]).astype(v.dtype) for name, v in BASE.items()
}  # a long training of the base
WEIGHTS = {"base": BASE, "sister": SISTER, "own": tune(BASE, 3), "below": tune(SISTER, 4, 0.5), "stranger": start(9)}
WEIGHTS |= {"long": LONG, "chat": tune(LONG, 6)}


@pytest.fixture(scope="module")
def claims() -> ScannedClaims:
    samples = {name: sketch_of(weights) for name, weights in WEIGHTS.items()}
    members = {name: Member(name, name, architecture="a") for name in WEIGHTS}
    edges = [
        EdgeFacts(child, "base", "FINE_TUNED_FROM", p) for child, p in (("sister", 0.98), ("own", 0.9), ("below", 0.9))
    ]
    edges.append(EdgeFacts("chat", "long", "FINE_TUNED_FROM", 0.99))
    equal = {name: frozenset({name}) for name in WEIGHTS}
    return ScannedClaims(members, edges, (), equal, SampledClaims(samples))


@pytest.mark.parametrize(
    ("model", "answer", "declared", "outcome"),
    [
        ("own", "parent", "sister", "contradicts"),  # what the sister learned is not in it
        ("below", "parent", "sister", "cannot tell"),  # it is: the grandparent was taken for the parent
        ("own", "parent", "stranger", "contradicts"),
        ("base", "root", "sister", "cannot tell"),  # the order of two relatives
        ("base", "root", "stranger", "contradicts"),
        ("stranger", "no_relatives", "base", "contradicts"),
        ("sister", "parent", "stranger", "contradicts"),
        ("long", "root", "base", "cannot tell"),  # a start in common
        ("chat", "parent", "base", "cannot tell"),  # its parent had
        ("chat", "parent", "stranger", "contradicts"),
    ],
)
def test_a_claim_is_contradicted_only_by_what_cannot_be(
    claims: ScannedClaims, model: str, answer: str, declared: str, outcome: str
) -> None:
    member = Member(model, model, architecture="a", answer=answer)
    assert claims.outcome(member, {declared: declared})[0] == outcome
