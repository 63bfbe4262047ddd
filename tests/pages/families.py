"""A graph for the tests of pages: a family with every relation, history, licences, cards right and wrong, and hostile names."""

from __future__ import annotations

from datetime import UTC, datetime

from lineage.graphdb.schema import Declaration, Model, Relation, Run, Verdict
from lineage.graphdb.store import Store
from tests.graphs import a_model, an_edge

HOSTILE = (
    "<script>alert(1)</script>/<img src=x onerror=alert(2)>",
    "\"'><svg/onload=alert(3)>/a&b;--",
    "org/\u202egnp.exe\u2066\u200f",
    "org/" + "long-name-" * 30,
    "org/bell\x07\x1b[31mred\x00\x85",
    "{{ 7 * 7 }}/${7*7}",
    "javascript:alert(4)/x",
    "org/two\nlines?and=a#question%2f&more",
)
EVIDENCE = {
    "growth_z": 7.5,
    "growth_gamma": 0.4,
    "detector_log_odds": -2.5,
    "unseen_parent": 0.07,
    "family_size": 9,
    "a_new_number": 1,
}


def hostile(place: int) -> Model:
    """A model with a hostile name."""
    return Model(
        f"id-hostile-{place}", HOSTILE[place], a_model("x").status, signature="sig", license=HOSTILE[place][:60]
    )


def tell(store: Store) -> None:
    """a -> b -> d, a -> c, (b, c) -> e by merging, q is b quantized, f a copy of e; lie claims c and comes from b; u is undecided."""

    def day(number: int) -> None:
        store.connection.clock = lambda: datetime(2026, 1, number, 12, tzinfo=UTC)

    day(1)
    store.record_run(
        Run("run-1", "sync", store.connection.clock(), store.connection.clock(), {"detect": {"edges_added": 9}})
    )
    licences = {"a": "llama3", "b": "llama3", "c": "cc-by-nc-4.0", "e": "mit", "f": "mit", "lie": "apache-2.0"}
    names = ("a", "b", "c", "d", "e", "f", "q", "lie", "u")
    models = [
        a_model(name, license=licences.get(name), revision=f"{place:040x}", downloads=place)
        for place, name in enumerate(names)
    ]
    odd = [hostile(place) for place in range(len(HOSTILE))]
    store.upsert_models([*models, *odd])
    edges = [
        an_edge("b", "a", 0.97, decided_by=("growth", "inheritance"), evidence=EVIDENCE),
        an_edge("c", "a", 0.95, decided_by=("growth",)),
        an_edge("d", "b", 0.97),
        an_edge("e", "b", 0.9, kind=Relation.MERGED_FROM, share=0.6),
        an_edge("e", "c", 0.9, kind=Relation.MERGED_FROM, share=0.4),
        an_edge("f", "e", 0.99, kind=Relation.COPY_OF, decided_by=("content",)),
        an_edge("q", "b", 0.99, kind=Relation.QUANTIZED_FROM),
        an_edge("lie", "b", 0.98),
        an_edge("u", "b", 0.4, kind=Relation.POSSIBLE_PARENT),
        an_edge("hostile-0", "a", 0.95),
        *(an_edge(f"hostile-{place}", "hostile-0", 0.95) for place in range(1, len(HOSTILE))),
    ]
    verdicts = [
        Verdict("id-a", "root", "the oldest of 9 related models", 0.99),
        Verdict("id-u", "undecided", "two fit equally well", 0.4),
    ]
    verdicts += [
        Verdict(f"id-{name}", "parent", "because of <b>this</b>", 0.9) for name in ("b", "c", "d", "e", "f", "q", "lie")
    ]
    scope = [model.hub_id for model in (*models, *odd)]
    store.replace_edges(scope, [*edges, an_edge("d", "c", 0.7)], verdicts, "run-1")
    day(3)
    store.record_run(Run("run-2", "sync", store.connection.clock(), store.connection.clock()))
    store.replace_edges(["id-d"], [an_edge("d", "b", 0.97)], [Verdict("id-d", "parent", "", 0.95)], "run-2")
    claims = [
        Declaration("id-b", "org/a", "finetune", "card"),
        Declaration("id-lie", "org/c", "finetune", "card"),
        Declaration("id-q", "nobody/knows", "quantized", "card"),
        Declaration("id-hostile-0", HOSTILE[1], None, "card"),
    ]
    store.upsert_declarations(["id-b", "id-lie", "id-q", "id-hostile-0"], claims)
    store.link_declarations()
