"""What of a family is shown: the line to the model always, whole generations as they fit, what was opened, and counts of the rest."""

from __future__ import annotations

import networkx as nx
import pytest

from lineage.graphdb.schema import ACCEPTED
from lineage.graphdb.store import Store
from lineage.pages.folding import fold
from lineage.pages.graph_relatives import GraphRelatives, KeptBroods
from lineage.pages.graph_source import members
from lineage.pages.sheet import compared
from lineage.queries.descent import edges_below
from tests.graphs import a_model, an_edge, fill, random_graph
from tests.pages.families import tell


def star(store: Store, children: int) -> None:
    """0 with many children; the last of them has two."""
    models = [a_model(i) for i in range(children + 3)]
    edges = [an_edge(i, 0) for i in range(1, children + 1)]
    edges += [an_edge(children + 1, children), an_edge(children + 2, children)]
    fill(store, models, edges)


def test_a_large_family_is_folded_and_the_marked_line_is_open(store: Store) -> None:
    star(store, 200)
    folded = fold(GraphRelatives(store), "id-201")
    assert folded.tops == ("id-0",)
    assert {"id-0", "id-200", "id-201"} <= set(folded.ids) and len(folded.ids) < 30
    assert folded.hidden["id-0"] == 200 - sum(edge.parent == "id-0" for edge in folded.edges)
    assert folded.line == {"id-0", "id-200", "id-201"}


def test_children_with_children_come_first(store: Store) -> None:
    star(store, 40)
    folded = fold(GraphRelatives(store), "id-0", shown=3, fitting=10)
    first = [edge.child for edge in folded.edges if edge.parent == "id-0"]
    assert first[0] == "id-40"
    assert folded.hidden["id-0"] == 37


def test_a_model_is_opened_and_shows_more_when_asked(store: Store) -> None:
    star(store, 60)
    closed = fold(GraphRelatives(store), "id-0", fitting=5)
    assert closed.closed == {"id-60": 2}
    opened = fold(GraphRelatives(store), "id-0", fitting=5, opened={"id-60"}, more={"id-0": 60})
    assert {"id-61", "id-62"} <= set(opened.ids) and opened.hidden == {} and opened.closed == {}


@pytest.mark.parametrize("seed", range(4))
def test_everything_that_fits_is_shown(store: Store, seed: int) -> None:
    graph = random_graph(seed)
    fill(store, graph.models, graph.edges)
    down = nx.DiGraph((edge.parent, edge.child) for edge in graph.edges if edge.kind in ACCEPTED)
    for model in graph.models:
        folded = fold(GraphRelatives(store), model.hub_id, fitting=1000, shown=1000)
        reached = {i for top in folded.tops for i in ({top} | (nx.descendants(down, top) if top in down else set()))}
        assert set(folded.ids) == reached
        found = {(edge.child, edge.parent, edge.relation) for edge in folded.edges}
        wanted = {(e.child, e.parent, str(e.kind)) for e in graph.edges if e.kind in ACCEPTED and e.parent in reached}
        assert found == wanted
        assert not folded.hidden and not folded.closed


def test_a_family_as_of_an_earlier_day(store: Store) -> None:
    tell(store)
    then = fold(GraphRelatives(store, at="2026-01-02T00:00:00Z"), "id-d")
    now = fold(GraphRelatives(store), "id-d")
    assert {edge.parent for edge in then.edges if edge.child == "id-d"} == {"id-b", "id-c"}
    assert {edge.parent for edge in now.edges if edge.child == "id-d"} == {"id-b"}
    assert fold(GraphRelatives(store, at="2025-01-01T00:00:00Z"), "id-d").ids == ("id-d",)


def test_improbable_edges_are_left_out_when_asked(store: Store) -> None:
    tell(store)
    folded = fold(GraphRelatives(store, min_probability=0.96), "id-b")
    assert "id-c" not in folded.ids and "id-d" in folded.ids


@pytest.mark.parametrize("seed", range(6))
def test_a_family_read_whole_is_folded_like_one_that_is_read_generation_by_generation(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = random_graph(seed, size=40)
    fill(store, graph.models, graph.edges)
    asked = [(model.hub_id, {"fitting": fitting, "shown": 1}) for model in graph.models[::4] for fitting in (1, 8, 100)]
    whole = [fold(GraphRelatives(store, min_probability=0.6), model, **limits) for model, limits in asked]
    monkeypatch.setattr("lineage.queries.descent.FEWEST_WAYS", 1)
    monkeypatch.setattr("lineage.queries.descent.WAYS", 1)
    parts = [fold(GraphRelatives(store, min_probability=0.6), model, **limits) for model, limits in asked]
    assert parts == whole
    assert any(folded.hidden for folded in whole)


def test_what_is_read_whole_says_which_cards_name_a_base(store: Store) -> None:
    tell(store)
    read = edges_below(store, ["id-b", "id-f"])
    assert {edge.hub_id for edge in read.edges["id-b"]} == {"id-d", "id-e", "id-q", "id-lie"} and read.edges[
        "id-f"
    ] == []
    assert read.claimants == {"id-lie", "id-q"}


def test_a_drawing_shows_the_card_that_is_contradicted_whoever_reads_the_members(store: Store) -> None:
    tell(store)
    source = GraphRelatives(store)
    folded = fold(source, "id-d")
    drawn, known = source.drawn(folded.ids), compared(store, members(store, folded.ids))
    assert {i: (m.name, m.answer) for i, m in drawn.items()} == {i: (m.name, m.answer) for i, m in known.items()}
    contradicted = {i for i, member in known.items() if member.outcome == "contradicts"}
    assert (
        contradicted
        == {"id-lie", "id-hostile-0"}
        == {i for i, member in drawn.items() if member.outcome == "contradicts"}
    )


def test_large_families_are_remembered_for_a_while(store: Store) -> None:
    star(store, 450)
    now = [0.0]
    kept = KeptBroods(clock=lambda: now[0])
    first = fold(GraphRelatives(store, kept=kept), "id-451")
    assert kept.is_large("id-0") and not kept.is_large("id-450")
    assert fold(GraphRelatives(store, kept=kept), "id-451") == first == fold(GraphRelatives(store), "id-451")
    assert first.hidden == {"id-0": 438}
    fill(store, [a_model("late")], [an_edge("late", 0)])
    assert fold(GraphRelatives(store, kept=kept), "id-451") == first
    now[0] = 31.0
    assert not kept.is_large("id-0")
    assert fold(GraphRelatives(store, kept=kept), "id-451").hidden == {"id-0": 439}
