"""What we ask of Cypher, in 63 statements with their answers, on one small graph: an engine that passes them can be a store.

The graph: base <- chat <- code <- quant, (chat, code) <- merge, chat <- copy, an adapter of code, two models in a circle, one alone.
Edges carry a probability; `chat` and `code` have two parallel edges. Rows are compared in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Check:
    """One statement: what it asks, the parameters it takes, and the rows it must answer with.

    Attributes:
        writes: runs in a writing transaction, in the order of the list; what it changes stays.
    """

    name: str
    text: str
    rows: Rows
    params: dict[str, Any] = field(default_factory=dict)
    writes: bool = False


NODES = [
    {"key": "base", "downloads": 900, "tags": ["en", "text"], "license": "apache-2.0", "made": "2024-01-01T00:00:00Z"},
    {"key": "chat", "downloads": 500, "tags": ["en"], "license": "mit", "made": "2024-02-01T12:30:00Z"},
    {"key": "code", "downloads": 70, "tags": [], "license": None, "made": "2024-03-05T00:00:00Z"},
    {"key": "copy", "downloads": 3, "tags": ["de"], "license": "mit", "made": "2024-03-06T00:00:00Z"},
    {"key": "lora", "downloads": 40, "tags": ["en"], "license": "other", "made": "2024-04-01T00:00:00Z"},
    {"key": "lone", "downloads": 0, "tags": [], "license": None, "made": None},
    {"key": "merge", "downloads": 20, "tags": ["x"], "license": "mit", "made": "2024-05-01T00:00:00Z"},
    {"key": "quant", "downloads": 8, "tags": [], "license": None, "made": "2024-06-01T00:00:00Z"},
    {"key": "ringa", "downloads": 1, "tags": [], "license": None, "made": None},
    {"key": "ringb", "downloads": 1, "tags": [], "license": None, "made": None},
]
EDGES = [
    {"child": "chat", "parent": "base", "kind": "TUNED", "p": 0.9},
    {"child": "code", "parent": "chat", "kind": "TUNED", "p": 0.8},
    {"child": "code", "parent": "chat", "kind": "SAYS", "p": 1.0},
    {"child": "quant", "parent": "code", "kind": "PACKED", "p": 0.95},
    {"child": "merge", "parent": "chat", "kind": "MERGED", "p": 0.7},
    {"child": "merge", "parent": "code", "kind": "MERGED", "p": 0.6},
    {"child": "copy", "parent": "chat", "kind": "COPIED", "p": 1.0},
    {"child": "lora", "parent": "code", "kind": "ADAPTS", "p": 0.5},
    {"child": "ringa", "parent": "ringb", "kind": "TUNED", "p": 0.9},
    {"child": "ringb", "parent": "ringa", "kind": "TUNED", "p": 0.9},
]
KINDS = ("TUNED", "PACKED", "MERGED", "COPIED", "ADAPTS", "SAYS")
T = "TUNED|PACKED|MERGED|COPIED|ADAPTS"

SCHEMA = (
    "CREATE CONSTRAINT check_key IF NOT EXISTS FOR (m:Check) REQUIRE m.key IS UNIQUE",
    "CREATE CONSTRAINT check_pair IF NOT EXISTS FOR (m:Pair) REQUIRE (m.left, m.right) IS UNIQUE",
    "CREATE INDEX check_downloads IF NOT EXISTS FOR (m:Check) ON (m.downloads)",
    "CREATE INDEX check_two IF NOT EXISTS FOR (m:Check) ON (m.license, m.downloads)",
    "CREATE INDEX check_probability IF NOT EXISTS FOR ()-[r:TUNED]-() ON (r.p)",
    "CREATE CONSTRAINT check_key IF NOT EXISTS FOR (m:Check) REQUIRE m.key IS UNIQUE",
)


def keys(*found: str, column: str = "key") -> Rows:
    return [{column: key} for key in found]


UPSERT_NODES = """
UNWIND $rows AS row
MERGE (m:Check {key: row.key})
ON CREATE SET m.new = true
SET m += {downloads: row.downloads, tags: row.tags, license: row.license}, m.made = datetime(row.made)
RETURN count(m) AS n
"""
UPSERTS = [
    Check("nodes", UPSERT_NODES, [{"n": 10}], {"rows": NODES}, writes=True),
    *(
        Check(
            f"edges {kind}",
            f"""UNWIND $rows AS row
            MATCH (c:Check {{key: row.child}})
            MATCH (p:Check {{key: row.parent}})
            MERGE (c)-[r:{kind}]->(p)
            ON CREATE SET r.times = 1 ON MATCH SET r.times = r.times + 1
            SET r.p = row.p
            RETURN count(r) AS n""",
            [{"n": sum(edge["kind"] == kind for edge in EDGES)}],
            {"rows": [edge for edge in EDGES if edge["kind"] == kind]},
            writes=True,
        )
        for kind in KINDS
    ),
]

READS = [
    # lookups and projections
    Check("by key", "MATCH (m:Check {key: $key}) RETURN m.downloads AS d", [{"d": 500}], {"key": "chat"}),
    Check("by keys", "UNWIND $keys AS key MATCH (m:Check {key: key}) RETURN m.key AS key ORDER BY key", keys("base", "copy"),
          {"keys": ["copy", "base", "nobody"]}),
    Check("in a list", "MATCH (m:Check) WHERE m.license IN ['mit', 'other'] RETURN m.key AS key ORDER BY key",
          keys("chat", "copy", "lora", "merge")),
    Check("a range", "MATCH (m:Check) WHERE 20 <= m.downloads < 500 RETURN m.key AS key ORDER BY m.downloads DESC",
          keys("code", "lora", "merge")),
    Check("a prefix", "MATCH (m:Check) WHERE m.key STARTS WITH 'co' RETURN m.key AS key ORDER BY key", keys("code", "copy")),
    Check("no value", "MATCH (m:Check) WHERE m.made IS NULL RETURN m.key AS key ORDER BY key", keys("lone", "ringa", "ringb")),
    Check("a value of many", "MATCH (m:Check) WHERE 'en' IN m.tags RETURN m.key AS key ORDER BY key", keys("base", "chat", "lora")),
    Check("a map of a node", "MATCH (m:Check {key: 'chat'}) RETURN m {.key, .license, twice: m.downloads * 2} AS m",
          [{"m": {"key": "chat", "license": "mit", "twice": 1000}}]),
    Check("a case", "MATCH (m:Check) WHERE m.key STARTS WITH 'c' RETURN m.key AS key, CASE WHEN m.downloads > 100 THEN 'much' "
          "WHEN m.downloads > 10 THEN 'some' ELSE 'little' END AS band ORDER BY key",
          [{"key": "chat", "band": "much"}, {"key": "code", "band": "some"}, {"key": "copy", "band": "little"}]),
    Check("a page", "MATCH (m:Check) RETURN m.key AS key ORDER BY m.downloads DESC, key SKIP 1 LIMIT 2", keys("chat", "code")),
    # lineage
    Check("parents", f"MATCH (:Check {{key: 'merge'}})-[r:{T}]->(p) RETURN p.key AS key, r.p AS p ORDER BY key",
          [{"key": "chat", "p": 0.7}, {"key": "code", "p": 0.6}]),
    Check("type of an edge", "MATCH (:Check {key: 'code'})-[r]->(:Check {key: 'chat'}) RETURN type(r) AS t ORDER BY t",
          [{"t": "SAYS"}, {"t": "TUNED"}]),
    Check("children", f"MATCH (:Check {{key: 'chat'}})<-[:{T}]-(c) RETURN c.key AS key ORDER BY key", keys("code", "copy", "merge")),
    Check("either direction", "MATCH (:Check {key: 'chat'})-[:TUNED]-(n) RETURN n.key AS key ORDER BY key", keys("base", "code")),
    Check("ancestors", f"MATCH (:Check {{key: 'quant'}})-[:{T}*1..10]->(a) RETURN DISTINCT a.key AS key ORDER BY key",
          keys("base", "chat", "code")),
    Check("all ways count", f"MATCH (:Check {{key: 'merge'}})-[:{T}*1..10]->(a:Check {{key: 'base'}}) RETURN count(*) AS n", [{"n": 2}]),
    Check("ancestors with depth", f"MATCH w = (:Check {{key: 'merge'}})-[:{T}*1..10]->(a) RETURN a.key AS key, min(length(w)) AS depth "
          "ORDER BY depth, key", [{"key": "chat", "depth": 1}, {"key": "code", "depth": 1}, {"key": "base", "depth": 2}]),
    Check("from nought", f"MATCH w = (:Check {{key: 'code'}})-[:{T}*0..1]->(a) RETURN a.key AS key, length(w) AS d ORDER BY d",
          [{"key": "code", "d": 0}, {"key": "chat", "d": 1}]),
    Check("unbounded", f"MATCH (:Check {{key: 'base'}})<-[:{T}*]-(d) RETURN count(DISTINCT d) AS n", [{"n": 6}]),
    Check("exactly two", f"MATCH (:Check {{key: 'base'}})<-[:{T}*2]-(d) RETURN DISTINCT d.key AS key ORDER BY key",
          keys("code", "copy", "merge")),
    Check("names on the way", f"MATCH w = (:Check {{key: 'quant'}})-[:{T}*]->(:Check {{key: 'base'}}) "
          "RETURN [n IN nodes(w) | n.key] AS way", [{"way": ["quant", "code", "chat", "base"]}]),
    Check("kinds on the way", f"MATCH w = (:Check {{key: 'quant'}})-[:{T}*]->(:Check {{key: 'base'}}) "
          "RETURN [r IN relationships(w) | type(r)] AS kinds", [{"kinds": ["PACKED", "TUNED", "TUNED"]}]),
    Check("weakest edge", f"MATCH w = (:Check {{key: 'quant'}})-[:{T}*]->(:Check {{key: 'base'}}) RETURN reduce(least = 1.0, "
          "r IN relationships(w) | CASE WHEN r.p < least THEN r.p ELSE least END) AS weakest", [{"weakest": 0.8}]),
    Check("only sure edges", f"MATCH w = (:Check {{key: 'merge'}})-[:{T}*1..5]->(a) WHERE ALL(r IN relationships(w) WHERE r.p >= $least) "
          "RETURN DISTINCT a.key AS key ORDER BY key", keys("base", "chat"), {"least": 0.65}),
    Check("some unsure edge", f"MATCH w = (:Check {{key: 'lora'}})-[:{T}*1..5]->(a) WHERE ANY(r IN relationships(w) WHERE r.p < 0.6) "
          "RETURN count(DISTINCT a) AS n", [{"n": 3}]),
    Check("none over a model", f"MATCH w = (:Check {{key: 'merge'}})-[:{T}*1..5]->(:Check {{key: 'base'}}) "
          "WHERE NONE(n IN nodes(w) WHERE n.key = 'code') RETURN length(w) AS n", [{"n": 2}]),
    Check("shortest way", f"MATCH (a:Check {{key: 'merge'}}), (b:Check {{key: 'base'}}) MATCH w = shortestPath((a)-[:{T}*1..15]->(b)) "
          "RETURN length(w) AS n", [{"n": 2}]),
    Check("all shortest ways", f"MATCH (a:Check {{key: 'lora'}}), (b:Check {{key: 'merge'}}) "
          f"MATCH w = allShortestPaths((a)-[:{T}*1..15]-(b)) RETURN [n IN nodes(w) | n.key] AS way",
          [{"way": ["lora", "code", "merge"]}]),
    Check("no way", f"MATCH (a:Check {{key: 'lone'}}), (b:Check {{key: 'base'}}) "
          f"MATCH w = shortestPath((a)-[:{T}*1..15]->(b)) RETURN w", []),
    Check("circles", "MATCH w = (m:Check)-[:TUNED*2..5]->(m) RETURN m.key AS key, length(w) AS n ORDER BY key",
          [{"key": "ringa", "n": 2}, {"key": "ringb", "n": 2}]),
    Check("no edge twice on a way", "MATCH (:Check {key: 'ringa'})-[:TUNED*1..9]->(b) RETURN count(*) AS n", [{"n": 2}]),
    Check("roots", f"MATCH (m:Check)<-[:{T}]-() WHERE NOT (m)-[:{T}]->() RETURN DISTINCT m.key AS key ORDER BY key", keys("base")),
    Check("leaves", f"MATCH (m:Check)-[:{T}]->() WHERE NOT EXISTS {{ (m)<-[:{T}]-() }} RETURN DISTINCT m.key AS key ORDER BY key",
          keys("copy", "lora", "merge", "quant")),
    Check("alone", "MATCH (m:Check) WHERE NOT (m)--() RETURN m.key AS key", keys("lone")),
    Check("number of children", f"MATCH (m:Check) WHERE m.key IN ['base', 'code', 'lone'] RETURN m.key AS key, "
          f"COUNT {{ (m)<-[:{T}]-() }} AS n ORDER BY key", [{"key": "base", "n": 1}, {"key": "code", "n": 3}, {"key": "lone", "n": 0}]),
    Check("perhaps a parent", f"MATCH (m:Check) WHERE m.key IN ['base', 'chat'] OPTIONAL MATCH (m)-[:{T}]->(p) "
          "RETURN m.key AS key, p.key AS parent ORDER BY key", [{"key": "base", "parent": None}, {"key": "chat", "parent": "base"}]),
    Check("siblings", f"MATCH (m:Check {{key: 'code'}})-[:{T}]->()<-[:{T}]-(s) WHERE s <> m RETURN DISTINCT s.key AS key ORDER BY key",
          keys("copy", "merge")),
    Check("shared ancestor", f"UNWIND ['quant', 'copy'] AS k MATCH w = (:Check {{key: k}})-[:{T}*0..10]->(a) "
          "WITH a, k, min(length(w)) AS d WITH a, count(k) AS n, sum(d) AS far WHERE n = 2 RETURN a.key AS key, far ORDER BY far, key",
          [{"key": "chat", "far": 3}, {"key": "base", "far": 5}]),
    Check("said and found", "MATCH (c:Check)-[:SAYS]->(p) WHERE EXISTS { (c)-[:TUNED]->(p) } RETURN c.key AS key", keys("code")),
    # time
    Check("parts of a moment", "MATCH (m:Check {key: 'chat'}) RETURN m.made.year AS y, m.made.month AS m, m.made.hour AS h",
          [{"y": 2024, "m": 2, "h": 12}]),
    Check("before a moment", "MATCH (m:Check) WHERE m.made < datetime($at) RETURN m.key AS key ORDER BY m.made", keys("base", "chat"),
          {"at": "2024-03-01T00:00:00+02:00"}),
]  # fmt: skip

WRITES = [
    Check("again changes nothing", UPSERT_NODES, [{"n": 10}], {"rows": NODES}, writes=True),
    Check("null removes a property", "MATCH (m:Check {key: 'lora'}) SET m += {license: null} RETURN m.license AS l", [{"l": None}],
          writes=True),
    Check("all properties at once", "MATCH (m:Check {key: 'lone'}) SET m = {key: 'lone', left: 1} RETURN m.downloads AS d, m.left AS l",
          [{"d": None, "l": 1}], writes=True),
    Check("a label more", "MATCH (m:Check {key: 'base'}) SET m:Root RETURN m:Root AS r", [{"r": True}], writes=True),
    Check("a label less", "MATCH (m:Root) REMOVE m:Root, m.new RETURN m:Root AS r, m.new AS n", [{"r": False, "n": None}], writes=True),
    Check("an edge becomes history", "MATCH (c:Check {key: 'lora'})-[r:ADAPTS]->(p) CREATE (c)-[s:WAS]->(p) SET s = properties(r) "
          "SET s.kind = type(r) DELETE r RETURN s.kind AS k, s.p AS p", [{"k": "ADAPTS", "p": 0.5}], writes=True),
    Check("for each", "MATCH w = (:Check {key: 'quant'})-[:PACKED|TUNED*]->(:Check {key: 'base'}) "
          "FOREACH (n IN nodes(w) | SET n.seen = true) RETURN length(w) AS n", [{"n": 3}], writes=True),
    Check("a subquery for each row", "MATCH (m:Check) WHERE m.seen CALL (m) { MATCH (m)<-[:TUNED]-(c) RETURN count(c) AS n } "
          "SET m.children = n RETURN m.key AS key, m.children AS n ORDER BY key",
          [{"key": "base", "n": 1}, {"key": "chat", "n": 1}, {"key": "code", "n": 0}, {"key": "quant", "n": 0}], writes=True),
    Check("away with its edges", "MATCH (m:Check {key: 'ringa'}) DETACH DELETE m RETURN count(*) AS n", [{"n": 1}], writes=True),
]  # fmt: skip
