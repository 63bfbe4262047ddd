"""Licences along a chain: what contradicts what, and what is undecided."""

from __future__ import annotations

import pytest

from lineage.graphdb.store import Store
from lineage.queries.licences import judge, licence_chain, licence_class
from tests.graphs import a_model, an_edge, fill


@pytest.mark.parametrize(
    "name, kind",
    [
        ("apache-2.0", "permissive"), ("MIT", "permissive"), ("cc-by-4.0", "permissive"), ("cc0-1.0", "permissive"),
        ("bsd-3-clause", "permissive"), ("gpl-3.0", "share-alike"), ("agpl-3.0", "share-alike"),
        ("lgpl-2.1", "share-alike"), ("cc-by-sa-4.0", "share-alike"), ("cc-by-nc-4.0", "non-commercial"),
        ("cc-by-nc-sa-4.0", "non-commercial"), ("cc-by-nd-4.0", "no-derivatives"), ("cc-by-nc-nd-4.0", "no-derivatives"),
        ("llama3.1", "own terms"), ("gemma", "own terms"), ("bigscience-bloom-rail-1.0", "own terms"),
        ("openrail++", "own terms"), ("other", "unknown"), (None, "unknown"), ("something new", "unknown"),
    ],
)  # fmt: skip
def test_licences_have_classes(name: str | None, kind: str) -> None:
    assert licence_class(name) == kind


@pytest.mark.parametrize(
    "own, above, outcome",
    [
        ("mit", "apache-2.0", "fits"), (None, "apache-2.0", "fits"), ("mit", None, "cannot tell"),
        ("mit", "cc-by-nc-4.0", "conflict"), ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", "fits"),
        (None, "cc-by-nc-4.0", "cannot tell"), ("mit", "gpl-3.0", "conflict"), ("GPL-3.0", "gpl-3.0", "fits"),
        ("apache-2.0", "llama3", "conflict"), ("llama3", "llama3", "fits"), ("mit", "cc-by-nd-4.0", "conflict"),
        (None, "cc-by-nd-4.0", "conflict"), ("mit, cc-by-nc-4.0", "cc-by-nc-4.0", "fits"),
        ("mit", "mit, cc-by-nc-4.0", "conflict"), ("mit", "mit, apache-2.0", "fits"), ("mit", "mit, my-weird", "cannot tell"),
    ],
)  # fmt: skip
def test_a_licence_is_judged_by_the_one_above(own: str | None, above: str | None, outcome: str) -> None:
    found, reason = judge(own, above)
    assert found == outcome
    assert reason


def test_a_licence_without_rules_is_named_and_not_called_unknown() -> None:
    assert judge("my-weird", "gpl-3.0")[1].endswith(
        "the model's own licence, my-weird, is not one that lineage has rules for"
    )
    assert judge("mit", "acme-terms")[1] == "the ancestor's licence, acme-terms, is not one that lineage has rules for"
    assert judge("other", "gpl-3.0")[1].endswith("the model's own licence is not known")


def test_the_chain_names_every_ancestor_nearest_first(store: Store) -> None:
    licences = {"a": "cc-by-nc-4.0", "b": None, "c": "mit"}
    fill(
        store,
        [a_model(name, license=value) for name, value in licences.items()],
        [an_edge("b", "a"), an_edge("c", "b")],
    )
    chain = licence_chain(store, a_model("c", license="mit"))
    assert [(link.ancestor.repo_id, link.license, link.outcome) for link in chain] == [
        ("org/b", None, "cannot tell"),
        ("org/a", "cc-by-nc-4.0", "conflict"),
    ]
