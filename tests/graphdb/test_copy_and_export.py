"""Digest, copy and export: the same content has the same digest anywhere, a copy loses nothing, formats can be read again."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import networkx as nx
import pytest

from lineage.graphdb.copy import CopyFailed, copy_graph
from lineage.graphdb.digest import graph_digest
from lineage.graphdb.export import export_graph
from lineage.graphdb.schema import Declaration, Run, Verdict
from lineage.graphdb.store import Store, open_store
from tests.graphs import a_model, an_edge, fill, random_graph

MOMENT = """
MATCH (m:Model {hub_id: 'id-0'})
RETURN m.created_at.year AS year, m.created_at > datetime('2024-01-01T00:00:00Z') AS later
"""
NASTY = 'o"rg/na\\me;|`<&>🤗'


def fill_everything(store: Store) -> None:
    """A graph with all there is: former names, history, claims, verdicts, runs, nasty names."""
    graph = random_graph(5)
    fill(store, graph.models, graph.edges)
    store.upsert_models(
        [a_model(0, repo_id=NASTY, created_at=datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), downloads=7)]
    )
    store.upsert_declarations(["id-3"], [Declaration("id-3", NASTY, "finetune", "card")])
    store.link_declarations()
    store.replace_edges(
        ["id-8"], [an_edge(8, 0, evidence={"z": [1, NASTY]})], [Verdict("id-8", "parent", NASTY, 0.9)], "run-2"
    )
    store.record_run(Run("run-2", "sync", datetime.now(UTC), None, {"a": NASTY}))


@pytest.mark.slow
def test_a_copy_has_the_digest_and_the_answers_of_its_source(store: Store, tmp_path: Path) -> None:
    fill_everything(store)
    with open_store(str(tmp_path / "copy")) as copy:
        copied = copy_graph(store, copy)
        assert copied.digest == graph_digest(copy) == graph_digest(store)
        assert copy.counts() == store.counts()
        assert copy.model(NASTY) == store.model(NASTY) == store.model("org/0")
        assert copy.runs() == store.runs()
        assert copied.nodes == sum(copy.counts()[name] for name in ("models", "architectures", "runs"))
        store_edges = store.read("MATCH (:Model)-[r]->() WHERE type(r) <> 'CLAIMS' RETURN count(r) AS n")[0]["n"]
        assert copied.edges == store_edges


@pytest.mark.slow
def test_a_copy_into_the_other_store_and_back_loses_nothing(store: Store, tmp_path: Path) -> None:
    with open_store(str(tmp_path / "first")) as first, open_store(str(tmp_path / "last")) as last:
        fill_everything(first)
        copy_graph(first, store)
        copy_graph(store, last)
        assert graph_digest(first) == graph_digest(last)
        assert store.read(MOMENT) == last.read(MOMENT) == [{"year": 2024, "later": True}]


def test_a_copy_into_a_graph_with_something_in_it_is_refused(store: Store, tmp_path: Path) -> None:
    store.upsert_models([a_model("a")])
    with open_store(str(tmp_path / "other")) as other, pytest.raises(CopyFailed, match="holds a graph already"):
        copy_graph(other, store)


def test_the_digest_sees_every_change_and_no_order(store: Store) -> None:
    graph = random_graph(1)
    fill(store, graph.models, graph.edges)
    first, lasting = graph_digest(store), graph_digest(store, passing=False)
    fill(store, graph.models[::-1], graph.edges[::-1])
    assert graph_digest(store) != first  # it was verified again
    assert graph_digest(store, passing=False) == lasting
    seen = {lasting}
    changes = [
        lambda: store.upsert_models([a_model(0, license="mit")]),
        lambda: store.upsert_models([a_model(0, license="mit", repo_id="org/else")]),
        lambda: store.replace_edges(["id-0"], [an_edge(0, 1, 0.123)], [], "run-9"),
        lambda: store.replace_edges(["id-0"], [], [Verdict("id-0", "root", "why", 0.8)], "run-9"),
        lambda: store.upsert_declarations(["id-0"], [Declaration("id-0", "org/1", None, "card")]),
        lambda: store.link_declarations(),
    ]
    for change in changes:
        change()
        seen.add(graph_digest(store, passing=False))
    assert len(seen) == len(changes) + 1


def exported(store: Store, form: str, **options: bool) -> str:
    file = io.StringIO()
    export_graph(store, form, file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def test_exports_are_read_again_by_networkx(store: Store) -> None:
    fill_everything(store)
    accepted = store.read(
        "MATCH (c:Model)-[r:FINE_TUNED_FROM|MERGED_FROM|COPY_OF]->(p:Model) RETURN c.hub_id AS c, p.hub_id AS p, type(r) AS t"
    )
    expected = sorted((row["c"], row["p"], row["t"]) for row in accepted)
    graphs = [
        nx.read_graphml(io.BytesIO(exported(store, "graphml").encode()), force_multigraph=True),
        nx.read_gexf(io.BytesIO(exported(store, "gexf").encode())),
        nx.node_link_graph(json.loads(exported(store, "node-link")), edges="edges"),
    ]
    for graph in graphs:
        assert sorted((c, p, data["edge"]) for c, p, data in graph.edges(data=True)) == expected
        assert graph.nodes["id-0"]["repo_id"] == NASTY
        assert graph.number_of_nodes() == 9


def test_an_export_of_everything_holds_claims_ties_and_history(store: Store) -> None:
    fill_everything(store)
    counts = store.counts()
    graph = nx.node_link_graph(json.loads(exported(store, "node-link", everything=True)), edges="edges")
    found = [data["edge"] for _, _, data in graph.edges(data=True)]
    for kind in ("FINE_TUNED_FROM", "POSSIBLE_PARENT", "DECLARES_BASE", "SUPERSEDED"):
        assert found.count(kind) == counts[kind]
    assert counts["SUPERSEDED"] > 0


def test_an_export_of_one_architecture_holds_only_its_models(store: Store) -> None:
    fill(store, [a_model("a"), a_model("b"), a_model("x", signature="other")], [an_edge("b", "a"), an_edge("x", "a")])
    file = io.StringIO()
    count = export_graph(store, "node-link", file, signature="sig")
    assert (count.models, count.edges) == (2, 1)


def test_csv_is_as_neo4j_import_wants_it(store: Store, tmp_path: Path) -> None:
    fill_everything(store)
    export_graph(store, "csv", tmp_path, everything=True)
    with (tmp_path / "models.csv").open(newline="") as file:
        models = list(csv.DictReader(file))
    with (tmp_path / "edges.csv").open(newline="") as file:
        edges = list(csv.DictReader(file))
    names = {row["hub_id:ID"]: row["repo_id"] for row in models}
    assert names["id-0"] == NASTY
    assert {row[":LABEL"] for row in models} == {"Model"}
    assert {"created_at:datetime", "downloads:long", "declared_bases:string[]"} <= models[0].keys()
    counts = store.counts()
    for kind in ("FINE_TUNED_FROM", "SUPERSEDED"):
        assert sum(row[":TYPE"] == kind for row in edges) == counts[kind]
    assert {row[":START_ID"] for row in edges} <= names.keys()


def test_dot_and_mermaid_quote_nasty_names(store: Store) -> None:
    store.upsert_models([a_model("a", repo_id=NASTY), a_model("b")])
    store.replace_edges(["id-b"], [an_edge("b", "a", 0.9)], [], "run")
    dot = exported(store, "dot")
    assert '"id-a" [label="o\\"rg/na\\\\me;|`<&>🤗"];' in dot
    assert '"id-b" -> "id-a" [label="fine-tuned 0.90"];' in dot
    mermaid = exported(store, "mermaid").splitlines()
    assert mermaid[0] == "graph BT"
    assert mermaid[1] == '  n0["o#34;rg/na#92;me#59;#124;#96;#60;#38;#62;#129303;"]'
    assert mermaid[3] == '  n1 -->|"fine-tuned 0.90"| n0'


def test_exports_name_the_parts_that_an_edge_is_about(store: Store, tmp_path: Path) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    store.replace_edges(["id-b"], [an_edge("b", "a", 0.9, parts=("text", 'vi"sion'))], [], "run")
    assert '[label="fine-tuned 0.90, its text, vi\\"sion"]' in exported(store, "dot")
    assert "fine-tuned 0.90#44; its text#44; vi#34;sion" in exported(store, "mermaid")
    graph = nx.node_link_graph(json.loads(exported(store, "node-link")), edges="edges")
    assert [json.loads(data["parts"]) for *_, data in graph.edges(data=True)] == [["text", 'vi"sion']]
    export_graph(store, "csv", tmp_path)
    with (tmp_path / "edges.csv").open(newline="") as file:
        assert [row["parts:string[]"].split("\x1f") for row in csv.DictReader(file)] == [["text", 'vi"sion']]


@pytest.mark.parametrize("form", ["graphml", "gexf"])
def test_xml_can_be_read_again_whatever_a_name_holds(store: Store, tmp_path: Path, form: str) -> None:
    names = {"a": "x\x01y\x1b[31m", "b": "line\nbreak\u202e", "c": "]]>&<\ufffe", "d": "plain \x0b\x0c"}
    store.upsert_models([a_model(name, repo_id=repo_id) for name, repo_id in names.items()])
    store.replace_edges([f"id-{n}" for n in names], [an_edge("b", "a", 1.0), an_edge("d", "c")], [], "run")
    export_graph(store, form, tmp_path / "file")
    again = (nx.read_graphml if form == "graphml" else nx.read_gexf)(tmp_path / "file")
    assert set(again.nodes) == {"id-a", "id-b", "id-c", "id-d"} and again.number_of_edges() == 2
    assert again.nodes["id-a"]["repo_id"] == "x\\x01y\\x1b[31m" and "\\x0b" in again.nodes["id-d"]["repo_id"]


def test_pictures_never_round_up_to_certainty(store: Store, tmp_path: Path) -> None:
    store.upsert_models([a_model("a"), a_model("b")])
    store.replace_edges(["id-b"], [an_edge("b", "a", 0.999)], [], "run")
    for form in ("dot", "mermaid"):
        export_graph(store, form, tmp_path / form)
        text = (tmp_path / form).read_text()
        assert "1.00" not in text and (
            "fine-tuned >0.99" in text or "fine-tuned #62;0.99" in text.replace("fine#45;", "fine-")
        )
