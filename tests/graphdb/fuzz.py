"""Random graphs put to a store as Cypher, and the answers beside those of plain Python: cycles, parallel edges, self-loops and islands.

The reference walks ways edge by edge, no edge twice, as Cypher's patterns do; nothing of it is shared with the product.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from lineage.graphdb.store import Store

KINDS = ("A", "B")
Edge = tuple[int, int, str, float]  # from, to, type, probability

CLEAR = "MATCH (n:Fuzz) DETACH DELETE n"
NODES = "UNWIND range(0, $size - 1) AS k CREATE (:Fuzz {k: k})"
EDGES = "UNWIND $rows AS row MATCH (a:Fuzz {k: row[0]}) MATCH (b:Fuzz {k: row[1]}) CREATE (a)-[:%s {p: row[2]}]->(b)"


def random_edges(rng: random.Random, size: int) -> list[Edge]:
    number = rng.randrange(size // 2, size + size // 2)
    return [
        (rng.randrange(size), rng.randrange(size), rng.choice(KINDS), rng.randrange(1, 10) / 10) for _ in range(number)
    ]


def ways(edges: list[Edge], start: int, longest: int, kinds: str) -> Iterator[list[Edge]]:
    """Every way from a node, up to so many edges, no edge twice."""
    stack: list[list[int]] = [[place] for place, edge in enumerate(edges) if edge[0] == start and edge[2] in kinds]
    while stack:
        way = stack.pop()
        yield [edges[place] for place in way]
        if len(way) < longest:
            end = edges[way[-1]][1]
            stack += [
                [*way, place]
                for place, edge in enumerate(edges)
                if edge[0] == end and edge[2] in kinds and place not in way
            ]


def check_graph(store: Store, seed: int) -> tuple[int, list[Any]]:
    """(number of checks, mismatches) of one random graph. The store may hold other things; nodes labelled Fuzz are replaced."""
    rng = random.Random(seed)
    size = rng.randrange(3, 8)
    edges = random_edges(rng, size)

    def write(execute: Any) -> None:
        execute(CLEAR, {})
        execute(NODES, {"size": size})
        for kind in KINDS:
            rows = [[a, b, p] for a, b, k, p in edges if k == kind]
            if rows:
                execute(EDGES % kind, {"rows": rows})

    store.transact(write)
    checks, wrong = 0, []
    for text, params, expected in questions(rng, edges, size):
        checks += 1
        found = [tuple(row.values()) for row in store.read(text, params)]
        if found != expected:
            wrong.append((seed, text, params, found, expected))
    return checks, wrong


def questions(rng: random.Random, edges: list[Edge], size: int) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """(statement, parameters, rows) about a graph."""
    start, end, least = rng.randrange(size), rng.randrange(size), rng.randrange(1, 9) / 10
    for kinds, pattern in (("A", "A"), ("AB", "A|B")):
        found = list(ways(edges, start, 4, kinds))
        at = {"a": start, "b": end, "least": least}
        reached = sorted({way[-1][1] for way in found})
        yield (
            f"MATCH (:Fuzz {{k: $a}})-[:{pattern}*1..4]->(n) RETURN DISTINCT n.k AS k ORDER BY k",
            at,
            [(k,) for k in reached],
        )
        yield f"MATCH (:Fuzz {{k: $a}})-[:{pattern}*1..4]->(n) RETURN count(*) AS n", at, [(len(found),)]
        depth = {k: min(len(way) for way in found if way[-1][1] == k) for k in reached}
        yield (
            f"MATCH w = (:Fuzz {{k: $a}})-[:{pattern}*1..4]->(n) RETURN n.k AS k, min(length(w)) AS d ORDER BY k",
            at,
            sorted(depth.items()),
        )
        sure = {way[-1][1] for way in found if all(edge[3] >= least for edge in way)}
        yield (
            f"MATCH w = (:Fuzz {{k: $a}})-[:{pattern}*1..4]->(n) WHERE ALL(r IN relationships(w) WHERE r.p >= $least) "
            "RETURN DISTINCT n.k AS k ORDER BY k",
            at,
            [(k,) for k in sorted(sure)],
        )
        weakest = {k: max(min(edge[3] for edge in way) for way in found if way[-1][1] == k) for k in reached}
        yield (
            f"MATCH w = (:Fuzz {{k: $a}})-[:{pattern}*1..4]->(n) RETURN n.k AS k, max(reduce(x = 1.0, r IN relationships(w) | "
            "CASE WHEN r.p < x THEN r.p ELSE x END)) AS weakest ORDER BY k",
            at,
            sorted(weakest.items()),
        )
        back = sum(way[-1][1] == start for way in found)
        yield f"MATCH (n:Fuzz {{k: $a}})-[:{pattern}*1..4]->(n) RETURN count(*) AS n", at, [(back,)]
        if start != end:
            lengths = [len(way) for way in ways(edges, start, 7, kinds) if way[-1][1] == end]
            yield (
                f"MATCH (a:Fuzz {{k: $a}}), (b:Fuzz {{k: $b}}) MATCH w = shortestPath((a)-[:{pattern}*1..7]->(b)) RETURN length(w) AS n",
                at,
                [(min(lengths),)] if lengths else [],
            )
        out = {k: sum(edge[0] == k and edge[2] in kinds for edge in edges) for k in range(size)}
        come = {k: sum(edge[1] == k and edge[2] in kinds for edge in edges) for k in range(size)}
        roots = [(k,) for k in range(size) if come[k] and not out[k]]
        yield (
            f"MATCH (n:Fuzz)<-[:{pattern}]-() WHERE NOT (n)-[:{pattern}]->() RETURN DISTINCT n.k AS k ORDER BY k",
            {},
            roots,
        )
        yield (
            f"MATCH (n:Fuzz) RETURN n.k AS k, COUNT {{ (n)-[:{pattern}]->() }} AS n ORDER BY k",
            {},
            sorted(out.items()),
        )
        pairs = sorted({(a, b) for a, b, k, _ in edges if k in kinds and a != b})
        yield (
            f"MATCH (a:Fuzz)-[:{pattern}]->(b:Fuzz) WHERE a <> b RETURN DISTINCT a.k AS a, b.k AS b ORDER BY a, b",
            {},
            pairs,
        )
    alone = [(k,) for k in range(size) if not any(k in edge[:2] for edge in edges)]
    yield "MATCH (n:Fuzz) WHERE NOT (n)--() RETURN n.k AS k ORDER BY k", {}, alone
    both = sorted({(a, b) for a, b, k, _ in edges if k == "A"} & {(a, b) for a, b, k, _ in edges if k == "B"})
    yield (
        "MATCH (a:Fuzz)-[:A]->(b:Fuzz) WHERE EXISTS { (a)-[:B]->(b) } RETURN DISTINCT a.k AS a, b.k AS b ORDER BY a, b",
        {},
        both,
    )
