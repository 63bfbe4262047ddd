"""A card with several bases, or one that says whose values were quantized: every base is judged, in the graph."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lineage.graphdb.schema import Declaration, Edge, Relation, Status
from lineage.graphdb.store import Store
from lineage.queries.claim_check import Comparison, compare
from tests.graphs import a_model, an_edge, fill

NAMES = ("base", "one", "two", "three", "child", "copy", "x")
TUNED = [an_edge("one", "base", 0.99), an_edge("two", "base", 0.99), an_edge("three", "one", 0.86)]
MERGED = [an_edge("child", name, 0.98, kind=Relation.MERGED_FROM) for name in ("one", "two")]
COPIED = [an_edge("child", "one", 0.99, kind=Relation.COPY_OF)]
COPY_OF_MERGE = [an_edge("copy", "child", 0.99, kind=Relation.COPY_OF), *MERGED]
PACKED = [an_edge("child", "one", 0.99, kind=Relation.QUANTIZED_FROM)]


def judged(
    store: Store, edges: list[Edge], bases: list[str], relation: str | None, model: str = "child", source: str = "card"
) -> Comparison:
    fill(store, [a_model(name) for name in NAMES], [*TUNED, *edges])
    claims = [Declaration(f"id-{model}", f"org/{base}", relation, source) for base in bases]
    store.upsert_declarations([f"id-{model}"], claims)
    store.upsert_declarations(["id-three"], [Declaration("id-three", "org/one", None, "card")])
    store.link_declarations()
    (found,) = compare(store, [f"id-{model}"])
    return found


@pytest.mark.parametrize(
    ("edges", "model", "bases", "outcome", "words"),
    [
        (MERGED, "child", ["one", "two"], "agree", ""),
        (MERGED, "child", ["base", "one", "two"], "agree", ""),
        (MERGED, "child", ["one", "elsewhere"], "agree", "org/elsewhere is declared and not in the graph"),
        (MERGED, "child", ["one", "three"], "agree", "org/three is declared and of the same family"),
        (COPY_OF_MERGE, "copy", ["one", "two"], "agree", ""),
        (MERGED, "child", ["one", "x"], "cannot tell", "org/x is declared; the weights are not related to it"),
        (COPIED, "child", ["one", "two"], "cannot tell", "it has the weights of org/one, which is none"),
        (COPIED, "child", ["base", "two"], "cannot tell", "it has the weights of org/one, which is none"),
        (COPIED, "child", ["two", "x"], "contradicts", "org/two and org/x are declared"),
    ],
)
def test_every_base_of_a_merge_is_judged(
    store: Store, edges: list[Edge], model: str, bases: list[str], outcome: str, words: str
) -> None:
    found = judged(store, edges, bases, "merge", model)
    assert str(found.agreement) == outcome and words in found.reason, found.reason


@pytest.mark.parametrize(
    ("base", "relation", "source", "outcome"),
    [
        ("base", "quantized", "card", "contradicts"),  # quantizing it cannot give the values of what was tuned from it
        ("base", "quantized", "tag", "agree"),  # the Hub worked the relation out
        ("base", None, "card", "agree"),
        ("one", "quantized", "card", "agree"),
    ],
)
def test_a_card_that_says_what_was_quantized_says_whose_values_they_are(
    store: Store, base: str, relation: str | None, source: str, outcome: str
) -> None:
    found = judged(store, PACKED, [base], relation, source=source)
    assert str(found.agreement) == outcome, found.reason


@pytest.mark.parametrize(
    ("relation", "source", "kind", "words"),
    [
        ("finetune", "card", Relation.QUANTIZED_FROM, "; its card says finetune, and it is a quantized copy of it"),
        ("finetune", "card", Relation.ADAPTER_OF, "; its card says finetune, and it is an adapter of it"),
        ("finetune", "tag", Relation.QUANTIZED_FROM, ""),
        (None, "card", Relation.ADAPTER_OF, ""),
        ("adapter", "card", Relation.ADAPTER_OF, ""),
        ("quantized", "card", Relation.QUANTIZED_FROM, ""),
        ("adapter", "card", Relation.FINE_TUNED_FROM, ""),  # merged into the weights
    ],
)
def test_a_card_with_the_right_base_and_another_relation_than_its_files_show_says_so(
    store: Store, relation: str | None, source: str, kind: Relation, words: str
) -> None:
    found = judged(store, [an_edge("child", "one", 0.99, kind=kind)], ["one"], relation, source=source)
    assert str(found.agreement) == "agree"
    assert found.reason == f"org/one is declared and found in the weights{words}"


def test_a_copy_that_names_what_was_made_of_its_original_is_contradicted(store: Store) -> None:
    """The edge from `three` to `one` is not nearly certain, but the card of `three` confirms it."""
    assert str(judged(store, COPIED, ["three"], None).agreement) == "contradicts"
    assert str(judged(store, [an_edge("child", "one", 0.99)], ["three"], None).agreement) == "cannot tell"


@pytest.mark.parametrize(
    ("in_configuration", "words"), [("two", "; its card names org/one, and its conf"), ("one", "")]
)
def test_an_adapter_whose_card_and_configuration_differ_says_so(
    store: Store, in_configuration: str, words: str
) -> None:
    models = [replace(a_model(name), status=Status.ADAPTER if name == "child" else Status.SKETCHED) for name in NAMES]
    fill(store, models, [an_edge("child", in_configuration, 0.99, kind=Relation.ADAPTER_OF)])
    said = [("one", "card"), (in_configuration, "adapter_config")]
    claims = [Declaration("id-child", f"org/{base}", "adapter", source) for base, source in said]
    store.upsert_declarations(["id-child"], claims)
    store.link_declarations()
    (found,) = compare(store, ["id-child"])
    assert found.reason.startswith(f"org/{in_configuration} is declared and fits{words}"), found.reason
