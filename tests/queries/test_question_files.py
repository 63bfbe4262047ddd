"""The questions about relatives that are one statement each, and the blast radius, against networkx on random graphs with
cycles, merges and parallel edges, on both stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import pytest

from lineage.graphdb.schema import ACCEPTED, Relation
from lineage.graphdb.store import Store
from lineage.queries import load
from lineage.queries.blast import blast_radius
from lineage.queries.walk import EVERYTHING, Limits
from tests.graphs import Graph, a_model, an_edge, fill, random_graph

SEEDS = range(4)


@pytest.fixture(params=SEEDS)
def told(request: pytest.FixtureRequest, store: Store) -> tuple[Store, Graph, nx.MultiDiGraph]:
    """A store with a random graph, and its accepted edges from child to parent."""
    graph = random_graph(request.param)
    fill(store, graph.models, graph.edges)
    up = nx.MultiDiGraph()
    up.add_nodes_from(model.hub_id for model in graph.models)
    for edge in graph.edges:
        if edge.kind in ACCEPTED:
            up.add_edge(edge.child, edge.parent, key=str(edge.kind), probability=edge.probability)
    return store, graph, up


def ask(store: Store, name: str, **params: Any) -> list[dict[str, Any]]:
    return store.read(load(name).text, params)


def depths(graph: nx.MultiDiGraph, start: str) -> dict[str, int]:
    return {node: depth for node, depth in nx.single_source_shortest_path_length(graph, start).items() if node != start}


def name(hub_id: str) -> str:
    return "org/" + hub_id.removeprefix("id-")


def test_ancestors_descendants_and_generations(told: tuple[Store, Graph, nx.MultiDiGraph]) -> None:
    store, graph, up = told
    for model in graph.models:
        above, below = depths(up, model.hub_id), depths(up.reverse(), model.hub_id)
        for question, expected in (("ancestors", above), ("descendants", below)):
            rows = ask(store, question, model=model.hub_id)
            assert {row["hub_id"]: row["depth"] for row in rows} == expected
            assert rows == sorted(rows, key=lambda row: (row["depth"], row["repo_id"]))
        for generation in (1, 2, 3):
            rows = ask(store, "generation", model=model.hub_id, generation=generation)
            assert {row["hub_id"] for row in rows} == {node for node, depth in above.items() if depth == generation}
        chain = ask(store, "licence_chain", model=model.hub_id)
        assert {row["repo_id"]: row["depth"] for row in chain} == {name(n): d for n, d in above.items()} | {
            model.repo_id: 0
        }


def test_siblings_and_shared_ancestors(told: tuple[Store, Graph, nx.MultiDiGraph]) -> None:
    store, graph, up = told
    for model in graph.models:
        parents = set(up.successors(model.hub_id))
        expected: dict[str, list[str]] = {}
        for parent in sorted(parents):
            for sibling in set(up.predecessors(parent)) - {model.hub_id}:
                expected.setdefault(name(sibling), []).append(name(parent))
        assert {row["repo_id"]: row["parents"] for row in ask(store, "siblings", model=model.hub_id)} == expected
        other = graph.models[-1]
        above_a, above_b = ({m.hub_id: 0} | depths(up, m.hub_id) for m in (model, other))
        rows = ask(store, "common_ancestor", a=model.hub_id, b=other.hub_id)
        assert {row["repo_id"]: (row["above_a"], row["above_b"]) for row in rows} == {
            name(node): (above_a[node], above_b[node]) for node in above_a.keys() & above_b.keys()
        }


def test_the_shortest_ways_up(told: tuple[Store, Graph, nx.MultiDiGraph]) -> None:
    store, graph, up = told
    top = max(up, key=up.in_degree)
    for model in graph.models:
        if model.hub_id == top:
            continue
        rows = ask(store, "path", a=model.hub_id, b=top)
        ways = nx.all_shortest_paths(nx.DiGraph(up), model.hub_id, top) if nx.has_path(up, model.hub_id, top) else ()
        assert {tuple(row["way"]) for row in rows} == {tuple(name(node) for node in way) for way in ways}
        for row in rows:
            ends = zip(row["way"], row["way"][1:], row["kinds"], row["probabilities"], strict=False)
            for child, parent, kind, probability in ends:
                ids = f"id-{child[4:]}", f"id-{parent[4:]}"
                assert up.edges[(*ids, kind)]["probability"] == probability


def widest(up: nx.MultiDiGraph, start: str, end: str, least: float) -> tuple[float, int] | None:
    """(weakest edge, length) of the best way down, by trying all of them."""
    down = nx.DiGraph()
    for child, parent, data in up.edges(data=True):
        if data["probability"] >= least:
            known = down.get_edge_data(parent, child, {"p": 0.0})["p"]
            down.add_edge(parent, child, p=max(known, data["probability"]))
    if start not in down or end not in down:
        return None
    ways = [
        (-min(down.edges[ends]["p"] for ends in nx.utils.pairwise(way)), len(way) - 1)
        for way in nx.all_simple_paths(down, start, end)
    ]
    return min(ways, default=None)


def heirs(up: nx.MultiDiGraph, start: str, least: float) -> Iterator[tuple[str, tuple[float, int]]]:
    for node in up:
        best = widest(up, start, node, least) if node != start else None
        if best is not None:
            yield name(node), (-best[0], best[1])


def test_models_with_the_same_files_and_what_comes_from_them_are_in_the_blast_radius(store: Store) -> None:
    """b, c and d have the same bytes, and only of c is it known to be a copy of b; d's adapter e and e's reupload f come from neither."""
    same = [a_model(name, weights_digest="same") for name in "bcd"]
    packed = [a_model(name, weights_digest="packed") for name in "ef"]
    edges = [an_edge("b", "a", 0.9), an_edge("c", "b", 0.99, kind=Relation.COPY_OF), an_edge("e", "d", 0.7)]
    fill(store, [a_model("a"), *same, *packed, a_model("g")], edges)

    def found(start: str, limits: Limits = EVERYTHING) -> dict[str, tuple[str | None, float, int]]:
        heirs = blast_radius(store, store.model(f"id-{start}"), limits)
        return {h.repo_id[-1]: (h.kind, h.weakest, len(h.way) - 1) for h in heirs}

    twin, tuned = "SAME_FILES", "FINE_TUNED_FROM"
    assert found("b") == {"c": ("COPY_OF", 0.99, 1), "d": (twin, 1.0, 1), "e": (tuned, 0.7, 2), "f": (twin, 0.7, 3)}
    assert found("c") == {"b": (twin, 1.0, 1), "d": (twin, 1.0, 1), "e": (tuned, 0.7, 2), "f": (twin, 0.7, 3)}
    assert found("a").keys() == set("bcdef") and found("f") == {"e": (twin, 1.0, 1)}
    assert found("b", Limits(kinds=(Relation.FINE_TUNED_FROM,))) == {}
    assert found("b", Limits(depth=1)).keys() == set("cdef") and found("g") == {}


@pytest.mark.parametrize("least", [0.0, 0.4])
def test_the_blast_radius_is_the_widest_way_to_each(told: tuple[Store, Graph, nx.MultiDiGraph], least: float) -> None:
    store, graph, up = told
    for model in graph.models[::2]:
        expected = dict(heirs(up, model.hub_id, least))
        found = blast_radius(store, model, Limits(min_probability=least))
        assert {heir.repo_id: (heir.weakest, len(heir.way) - 1) for heir in found} == expected
        rows = ask(store, "blast_radius", model=model.hub_id, min_probability=least)
        assert {row["repo_id"]: (row["weakest"], row["generations"]) for row in rows} == expected
        assert {row["repo_id"]: tuple(row["way"]) for row in rows} == {heir.repo_id: heir.way for heir in found}
        for heir in found:
            assert heir.way[0] == model.repo_id
            assert [row["weakest"] for row in rows] == sorted((row["weakest"] for row in rows), reverse=True)
