// Claim edges whose base is a known model.
// params: rows (child, parent, base, relation, sources), now      columns: count
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.child})
MATCH (p:Model {hub_id: row.parent})
MERGE (c)-[r:DECLARES_BASE]->(p)
ON CREATE SET r.first_seen = datetime($now)
SET r.base = row.base, r.relation = row.relation, r.sources = row.sources, r.last_seen = datetime($now)
RETURN count(r) AS count;
