// Edges of one type that were found again, about the same weights. RELATION is replaced by the type.
// params: rows (child, parent, props), now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.child})-[r:RELATION]->(p:Model {hub_id: row.parent})
SET r += row.props, r.last_verified_at = now
RETURN count(r) AS count;
