"""The ancestry of one model in CycloneDX and SPDX is accepted by the formats' own schemas, and a family in Newick by another reader."""

from __future__ import annotations

import io
import json
from typing import Any

import newick as reader
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_python_model import v3_0_1 as spdx_model

from lineage.graphdb.schema import Model, Relation, Status
from lineage.graphdb.store import Store
from lineage.queries.family import tree
from lineage.queries.newick import newick
from lineage.queries.pedigree import cyclonedx, pedigree, spdx
from tests.graphs import a_model, an_edge, fill, random_graph

NASTY = "o'rg/n\"a(m,e);:[x] ü🤗 `" + "x" * 60


def family(store: Store) -> Model:
    """c from a and b by merging, d a copy of c, and a comes back from d: a cycle, an unknown licence, a local model, a nasty name."""
    models = [
        a_model("a", license="apache-2.0", revision="A" * 40),
        Model("local:b", "/disk/b", Status.SKETCHED, signature="sig", weights_digest="1", license="my own"),
        a_model("c", repo_id=NASTY, license="cc-by-nc-4.0"),
        a_model("d"),
    ]
    edges = [
        an_edge("c", "a", 0.9, kind=Relation.MERGED_FROM, decided_by=("inheritance", "growth")),
        an_edge("c", "a", 0.4, kind=Relation.FINE_TUNED_FROM),
        an_edge("d", "c", 1.0, kind=Relation.COPY_OF),
        an_edge("a", "d", 0.5),
    ]
    fill(store, models, edges)
    return models[3]


def valid_cyclonedx(document: dict[str, Any]) -> dict[str, Any]:
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    assert problem is None, problem
    return document


def read_spdx(document: dict[str, Any]) -> spdx_model.SHACLObjectSet:
    """Read and written again by the bindings that are made from the model of SPDX: both check types and numbers of values."""
    found = spdx_model.SHACLObjectSet()
    spdx_model.JSONLDDeserializer().read(io.BytesIO(json.dumps(document).encode()), found)
    assert found.link() == set()  # every name that is used is there
    spdx_model.JSONLDSerializer().write(found, io.BytesIO())
    return found


def test_cyclonedx_nests_ancestors_once_each_and_is_valid(store: Store) -> None:
    document = valid_cyclonedx(cyclonedx(pedigree(store, family(store))))
    subject = document["metadata"]["component"]
    assert subject["name"] == "org/d"
    (copied,) = subject["pedigree"]["ancestors"]
    assert copied["name"] == NASTY
    assert copied["licenses"] == [{"license": {"id": "CC-BY-NC-4.0"}}]
    (above,) = copied["pedigree"]["ancestors"]
    assert (above["name"], above["purl"]) == ("org/a", "pkg:huggingface/org/a@" + "a" * 40)
    assert {"name": "lineage:probability", "value": "0.9"} in above["properties"]
    assert "MERGED_FROM, probability 0.90, decided by inheritance, growth" in copied["pedigree"]["notes"]
    (again,) = above["pedigree"]["ancestors"]  # the cycle: named, not opened again
    assert again["name"] == "org/d"
    assert "pedigree" not in again


def test_the_schema_of_cyclonedx_refuses_what_is_wrong(store: Store) -> None:
    document = cyclonedx(pedigree(store, family(store)))
    document["metadata"]["component"]["pedigree"]["ancestors"][0]["type"] = "alchemy"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_spdx_relates_packages_and_is_read_by_its_own_model(store: Store) -> None:
    found = read_spdx(spdx(pedigree(store, family(store))))
    packages = {package.name: package for package in found.foreach_type(spdx_model.ai_AIPackage)}
    assert set(packages) == {"org/a", NASTY, "org/d"}
    relations = {
        (relation.relationshipType.rpartition("/")[2], relation.from_.name, relation.to[0].name)
        for relation in found.foreach_type(spdx_model.Relationship)
        if isinstance(relation.to[0], spdx_model.ai_AIPackage)
    }
    assert relations == {
        ("descendantOf", NASTY, "org/a"),
        ("descendantOf", "org/a", "org/d"),
        ("copiedTo", NASTY, "org/d"),
    }
    licences = {
        e.simplelicensing_licenseExpression for e in found.foreach_type(spdx_model.simplelicensing_LicenseExpression)
    }
    assert licences == {"Apache-2.0", "CC-BY-NC-4.0"}


def test_the_model_of_spdx_refuses_what_is_wrong(store: Store) -> None:
    document = spdx(pedigree(store, family(store)))
    document["@graph"][-1]["relationshipType"] = "wishesItWere"
    with pytest.raises(ValueError, match="wishesItWere"):
        read_spdx(document)


@pytest.mark.parametrize("seed", range(3))
def test_documents_of_random_graphs_are_valid(store: Store, seed: int) -> None:
    graph = random_graph(seed)
    fill(store, graph.models, graph.edges)
    for model in graph.models[::3]:
        found = pedigree(store, model)
        valid_cyclonedx(cyclonedx(found))
        read_spdx(spdx(found))


def test_a_family_in_newick_is_read_again_with_every_name(store: Store) -> None:
    models = [a_model(name) for name in "abc"] + [a_model("n", repo_id=NASTY), a_model("o", repo_id="org/o'o")]
    fill(
        store,
        models,
        [an_edge("b", "a"), an_edge("c", "a"), an_edge("n", "b"), an_edge("o", "n"), an_edge("o", "c", 0.5)],
    )
    (top,) = reader.loads(newick(tree(store, models[0])).strip())
    shape = {node.unquoted_name: sorted(child.unquoted_name for child in node.descendants) for node in top.walk()}
    assert shape == {"org/a": ["org/b", "org/c"], "org/b": [NASTY], "org/c": ["org/o'o"], NASTY: [], "org/o'o": []}


@pytest.mark.slow
def test_a_very_deep_family_is_written_in_newick(store: Store) -> None:
    models = [a_model(number) for number in range(1_500)]
    fill(store, models, [an_edge(number, number - 1) for number in range(1, 1_500)])
    text = newick(tree(store, models[700]))
    assert text.count("(") == text.count(")") == 1_499
    assert text.endswith("'org/0';\n")


def test_both_licences_of_a_card_with_two_are_in_both_documents(store: Store) -> None:
    fill(store, [a_model("two", license="mit, cc-by-nc-4.0"), a_model("own", license="mit, my terms")], [])
    found = pedigree(store, a_model("two"))
    licences = valid_cyclonedx(cyclonedx(found))["metadata"]["component"]["licenses"]
    assert licences == [{"license": {"id": "MIT"}}, {"license": {"id": "CC-BY-NC-4.0"}}]
    document = spdx(found)
    read_spdx(document)
    said = [
        e["simplelicensing_licenseExpression"] for e in document["@graph"] if "simplelicensing_licenseExpression" in e
    ]
    assert said == ["MIT AND CC-BY-NC-4.0"]
    other = spdx(pedigree(store, a_model("own")))
    read_spdx(other)
    assert "MIT AND LicenseRef-my-terms" in str(other)
