// Models tied to their architectures, of another store, into an empty one.
// params: rows (child, parent)      columns: count
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.child})
MATCH (a:Architecture {signature: row.parent})
CREATE (m)-[h:HAS_ARCHITECTURE]->(a)
RETURN count(h) AS count;
