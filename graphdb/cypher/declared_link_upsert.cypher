// Claim edges whose base is a known model.
// params: rows (child, parent, base, relation, sources), now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.child})
MATCH (p:Model {hub_id: row.parent})
MERGE (c)-[r:DECLARES_BASE]->(p)
SET r += {
  base: row.base,
  relation: row.relation,
  sources: row.sources,
  first_seen: coalesce(r.first_seen, now),
  last_seen: now
}
RETURN count(r) AS count;
