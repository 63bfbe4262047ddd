"""Every question about relatives, on both stores, compared with networkx on random graphs with cycles, merges, parallel edges and ties."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import networkx as nx
import pytest

from lineage.graphdb.schema import ACCEPTED, Edge, Relation
from lineage.graphdb.store import Store
from lineage.queries.family import children_counts, common_ancestors, path, roots, siblings, tree
from lineage.queries.walk import Limits, Relative, ancestors, descendants
from tests.graphs import Graph, a_model, an_edge, fill, random_graph

SEEDS = range(6)
LIMITS = [
    Limits(),
    Limits(depth=1),
    Limits(depth=2),
    Limits(min_probability=0.4),
    Limits(kinds=(Relation.FINE_TUNED_FROM,)),
    Limits(kinds=(*ACCEPTED, Relation.POSSIBLE_PARENT), min_probability=0.25, depth=3),
]


def child_to_parent(edges: Sequence[Edge], limits: Limits) -> nx.MultiDiGraph:
    """The edges that a walk with these limits may follow."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(f"id-{number}" for number in range(9))
    for edge in edges:
        if edge.kind in limits.kinds and edge.probability >= limits.min_probability:
            graph.add_edge(edge.child, edge.parent, key=str(edge.kind), probability=edge.probability)
    return graph


def depths(graph: nx.MultiDiGraph, start: str, depth: int | None) -> dict[str, int]:
    found = nx.single_source_shortest_path_length(graph, start, cutoff=depth)
    return {node: distance for node, distance in found.items() if node != start}


def check_edges(found: list[Relative], start: str, graph: nx.MultiDiGraph) -> None:
    """Each relative hangs on a real edge to one nearer model, the most probable of those there are."""
    depth_of = {start: 0} | {relative.hub_id: relative.depth for relative in found}
    for relative in found:
        edges = [
            (via, kind, data["probability"])
            for via, _, kind, data in graph.in_edges(relative.hub_id, keys=True, data=True)
            if depth_of.get(via) == relative.depth - 1
        ]
        assert (relative.via, relative.kind, relative.probability) in edges
        assert relative.probability == max(probability for _, _, probability in edges)


@pytest.mark.parametrize("seed", SEEDS)
def test_ancestors_and_descendants_are_those_of_networkx(store: Store, seed: int) -> None:
    graph = random_graph(seed)
    fill(store, graph.models, graph.edges)
    for limits in LIMITS:
        up = child_to_parent(graph.edges, limits)
        down = up.reverse()
        for model in graph.models[:: 2 if limits.depth else 1]:
            found = ancestors(store, model.hub_id, limits)
            assert {r.hub_id: r.depth for r in found} == depths(up, model.hub_id, limits.depth)
            check_edges(found, model.hub_id, up)
            assert found == sorted(found, key=lambda r: (r.depth, r.repo_id, r.hub_id))
            found = descendants(store, model.hub_id, limits)
            assert {r.hub_id: r.depth for r in found} == depths(down, model.hub_id, limits.depth)
            check_edges(found, model.hub_id, down)


@pytest.mark.parametrize("ways", [1, 4])
def test_ancestors_are_the_same_however_few_ways_a_statement_follows(
    store: Store, monkeypatch: pytest.MonkeyPatch, ways: int
) -> None:
    monkeypatch.setattr("lineage.queries.walk.WAYS", ways)
    monkeypatch.setattr("lineage.queries.walk.FEWEST_WAYS", ways)
    graph = random_graph(1)
    fill(store, graph.models, graph.edges)
    for limits in (Limits(), Limits(min_probability=0.4)):
        up = child_to_parent(graph.edges, limits)
        for model in graph.models:
            found = ancestors(store, model.hub_id, limits)
            assert {r.hub_id: r.depth for r in found} == depths(up, model.hub_id, None)


def test_ten_generations_of_merges_of_ten_models_take_no_time(store: Store) -> None:
    """Ten thousand million ways lead up; an answer that followed them all would never come."""
    layers = [[f"{layer}{place}" for place in "abcdefghij"] for layer in "0123456789"]
    edges = [
        an_edge(child, parent, 0.9, kind=Relation.MERGED_FROM)
        for below, above in pairwise(layers)
        for child in below
        for parent in above
    ]
    fill(store, [a_model(name) for layer in layers for name in layer], edges)
    found = ancestors(store, "id-0a")
    assert [relative.depth for relative in found] == [depth for depth in range(1, 10) for _ in range(10)]


@pytest.mark.parametrize("seed", SEEDS)
def test_siblings_roots_and_counts_are_those_of_networkx(store: Store, seed: int) -> None:
    graph = random_graph(seed)
    fill(store, graph.models, graph.edges)
    for limits in (Limits(), Limits(min_probability=0.4), Limits(depth=2)):
        up = child_to_parent(graph.edges, limits)
        for model in graph.models:
            above = depths(up, model.hub_id, limits.depth or 1)
            own_line = {model.hub_id, *above}
            expected: dict[str, int] = {}
            for ancestor, depth in above.items():
                for child in set(up.predecessors(ancestor)) - own_line:
                    expected[child] = min(depth, expected.get(child, depth))
            assert {r.hub_id: r.depth for r in siblings(store, model, limits)} == expected
        children = {node: len(set(up.predecessors(node))) for node in up}
        assert {root.hub_id: root.children for root in roots(store, limits)} == {
            node: count for node, count in children.items() if count and not up.out_degree(node)
        }
        counted = children_counts(store, [model.hub_id for model in graph.models], limits)
        assert counted == {node: count for node, count in children.items() if count}


@pytest.mark.parametrize("seed", SEEDS)
def test_shared_ancestors_and_ways_are_those_of_networkx(store: Store, seed: int) -> None:
    graph = random_graph(seed)
    fill(store, graph.models, graph.edges)
    up = child_to_parent(graph.edges, Limits())
    rng = random.Random(seed)
    for _ in range(12):
        a, b = rng.choice(graph.models), rng.choice(graph.models)
        above_a = {a.hub_id: 0} | depths(up, a.hub_id, None)
        above_b = {b.hub_id: 0} | depths(up, b.hub_id, None)
        shared = common_ancestors(store, a, b)
        assert {s.ancestor.hub_id: (s.depth_a, s.depth_b) for s in shared} == {
            node: (above_a[node], above_b[node]) for node in above_a.keys() & above_b.keys()
        }
        distances = [s.depth_a + s.depth_b for s in shared]
        assert distances == sorted(distances)
        way = path(store, a, b)
        if not shared:
            assert way == []
            continue
        assert len(way) - 1 == distances[0]
        assert (way[0].relative.hub_id, way[-1].relative.hub_id) == (a.hub_id, b.hub_id)
        assert [step.relative.depth for step in way] == list(range(len(way)))
        for before, after in pairwise(way):
            child, parent = before.relative.hub_id, after.relative.hub_id
            if after.direction == "down":
                child, parent = parent, child
            kind = after.relative.kind
            assert up.edges[child, parent, kind]["probability"] == after.relative.probability
        turns = [step.direction for step in way[1:]]
        assert turns == sorted(turns, reverse=True)  # up, then down


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tree_holds_everything_below_the_oldest_ancestors(store: Store, seed: int) -> None:
    graph = random_graph(seed)
    fill(store, graph.models, graph.edges)
    up = child_to_parent(graph.edges, Limits())
    for model in graph.models:
        line = {model.hub_id} | set(depths(up, model.hub_id, None))
        oldest = {node for node in line if not up.out_degree(node)} or {model.hub_id}
        found = tree(store, model)
        assert {r.hub_id for r in found if r.depth == 0} == oldest
        assert {r.hub_id for r in found} == oldest.union(*(nx.ancestors(up, node) for node in oldest))


def test_merges_of_merges_are_walked_in_no_time(store: Store) -> None:
    """Thirty generations of diamonds have 2**30 paths."""
    models, edges = [a_model("j0")], []
    for n in range(30):
        models += [a_model(f"l{n}"), a_model(f"r{n}"), a_model(f"j{n + 1}")]
        edges += [an_edge(f"j{n}", f"l{n}"), an_edge(f"j{n}", f"r{n}"), an_edge(f"l{n}", f"j{n + 1}")]
        edges += [an_edge(f"r{n}", f"j{n + 1}")]
    fill(store, models, edges)
    found = ancestors(store, "id-j0")
    assert len(found) == 90
    assert found[-1].depth == 60
    assert len(path(store, models[0], models[-1])) == 61


def test_walks_follow_claims_only_when_asked(store: Store) -> None:
    from lineage.graphdb.schema import Declaration

    fill(store, [a_model(name) for name in "abc"], [an_edge("c", "b")])
    store.upsert_declarations(["id-b"], [Declaration("id-b", "org/a", "finetune", "card")])
    store.link_declarations()
    assert [r.repo_id for r in ancestors(store, "id-c")] == ["org/b"]
    declared = ancestors(store, "id-c", Limits(kinds=(*ACCEPTED, Relation.DECLARES_BASE)))
    assert [(r.repo_id, r.kind, r.probability) for r in declared] == [
        ("org/b", "FINE_TUNED_FROM", 0.9),
        ("org/a", "DECLARES_BASE", None),
    ]


def test_answers_come_in_the_same_order_however_the_graph_was_written(store: Store) -> None:
    graph: Graph = random_graph(3)
    fill(store, graph.models[::-1], graph.edges[::-1])
    first = [ancestors(store, model.hub_id) for model in graph.models] + [tree(store, model) for model in graph.models]
    fill(store, graph.models, graph.edges)
    again = [ancestors(store, model.hub_id) for model in graph.models] + [tree(store, model) for model in graph.models]
    assert first == again


def test_a_limit_gives_the_first_of_all_descendants(store: Store) -> None:
    graph = random_graph(2, size=9)
    fill(store, graph.models, graph.edges)
    for model in graph.models:
        everything = descendants(store, model.hub_id)
        for limit in (1, 2, 5):
            assert descendants(store, model.hub_id, limit=limit) == everything[:limit]
