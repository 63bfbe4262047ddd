// Edges of one type of another store, into an empty one. RELATION is replaced by the type.
// params: rows (child, parent, props, moments)      columns: count
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.child})
MATCH (p:Model {hub_id: row.parent})
CREATE (c)-[r:RELATION]->(p)
SET r = row.props,
    r.first_verified_at = datetime(row.moments.first_verified_at),
    r.last_verified_at = datetime(row.moments.last_verified_at),
    r.first_seen = datetime(row.moments.first_seen),
    r.last_seen = datetime(row.moments.last_seen),
    r.superseded_at = datetime(row.moments.superseded_at)
RETURN count(r) AS count;
