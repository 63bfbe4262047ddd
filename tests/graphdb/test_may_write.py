"""Which statements may write, for an engine that does not say."""

from __future__ import annotations

import pytest

from lineage.graphdb.read_only import may_write
from lineage.graphdb.statements import constraints, statement
from lineage.queries import load, names


@pytest.mark.parametrize(
    "cypher",
    [
        "CREATE (n)",
        "match (n) set n.x=1",
        "MATCH (n)\nDETACH\nDELETE n",
        "MATCH (n) /* only reading */ REMOVE n.x",
        "MATCH (n) FOREACH(x IN [1]|SET n.x=x)",
        "UNWIND [1] AS x CALL (x) {CREATE (:N)} RETURN x",
        "CALL apoc.create.node(['A'], {})",
        "MATCH (n) CALL (n) { RETURN 1 AS y } IN 2 CONCURRENT TRANSACTIONS RETURN n",
        "LOAD CSV FROM 'file:///etc/passwd' AS row RETURN row",
        "DROP INDEX x",
        "PROFILE MATCH (n) SET n.x = 1",
        "MATCH (n) WHERE n.name = '\\'' SET n.x = '\\''",
        "MATCH (n) \\u0053ET n.x = 1",
    ],
)
def test_what_writes_is_seen(cypher: str) -> None:
    assert may_write(cypher)


@pytest.mark.parametrize(
    "cypher",
    [
        "MATCH (n) RETURN n",
        "MATCH (n:Model {repo_id: 'a/CREATE'}) WHERE n.set = \"SET x\" RETURN n.created_at AS created // DELETE",
        "MATCH (n:Set)-[:CREATE]->(m) RETURN n.`DELETE`, $merge",
        "CALL db.labels()",
        "MATCH (n) CALL (n) { MATCH (n)-->(m) RETURN count(m) AS k } RETURN k",
        "SHOW INDEXES",
        "RETURN 'it\\'s', \"a \\\" SET\" AS offset, 1 AS reset",
    ],
)
def test_what_only_reads_is_seen(cypher: str) -> None:
    assert not may_write(cypher)


def test_every_question_only_reads_and_every_upsert_writes() -> None:
    assert not any(may_write(load(name).text) for name in names())
    writers = ["model_upsert", "model_rename", "model_architecture", "declarations_set", "verdict_set", "run_upsert"]
    assert all(may_write(statement(name)) for name in writers)
    assert all(may_write(text) for text in constraints())
