"""A card that names a relative: what the values say of the line of descent."""

from __future__ import annotations

import numpy as np
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
    found, reason = claims.outcome(member, {declared: declared})
    assert found == outcome
    assert ("the other order" in reason) == ((model, declared) == ("base", "sister")), reason


@pytest.mark.parametrize(
    ("model", "declared", "outcome"),
    [
        ("own", "stranger", "contradicts"),  # of whatever it comes, it is not that
        ("own", "sister", "cannot tell"),
        ("long", "base", "cannot tell"),  # a start in common
        ("chat", "base", "cannot tell"),  # a model that may be its parent had one
        ("chat", "stranger", "contradicts"),
        ("own", "turned", "cannot tell"),  # the stranger in another order of its columns, of which the model is a child
    ],
)
def test_an_undecided_model_contradicts_a_card_that_names_a_stranger_to_all_of_its_family(
    model: str, declared: str, outcome: str
) -> None:
    wide = next(iter(BASE.values())).shape[-1]
    order = np.random.default_rng(0).permutation(wide)
    turned = {name: v[..., order] if v.shape[-1] == wide and v.ndim > 1 else v for name, v in WEIGHTS["own"].items()}
    weights = WEIGHTS | {"turned": turned}
    samples = {name: sketch_of(tensors) for name, tensors in weights.items()}
    members = {name: Member(name, name, architecture="a") for name in weights}
    named = {"own": ("base", "sister"), "chat": ("long",), "long": ()}
    possible = [EdgeFacts(child, parent, "POSSIBLE_PARENT", 0.4) for child in named for parent in named[child]]
    claims = ScannedClaims(members, [], possible, {name: frozenset({name}) for name in weights}, SampledClaims(samples))
    found = claims.outcome(Member(model, model, architecture="a", answer="undecided"), {declared: declared})
    assert found[0] == outcome, found[1]
    assert found[1] == "no parent was decided" or "not related" in found[1]
