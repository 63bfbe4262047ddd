// Accepted edges and ties of one type. RELATION stands for the type.
// params: rows (child, parent, props), now      columns: count
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.child})
MATCH (p:Model {hub_id: row.parent})
MERGE (c)-[r:RELATION]->(p)
ON CREATE SET r.first_verified_at = datetime($now)
SET r += row.props,
    r.child_digest = c.weights_digest,
    r.parent_digest = p.weights_digest,
    r.last_verified_at = datetime($now)
RETURN count(r) AS count;
