// Names that models once had, of another store, into an empty one.
// params: rows (child, parent, props, moments)      columns: count
UNWIND $rows AS row
MERGE (n:FormerName {key: row.parent})
WITH row, n
MATCH (m:Model {hub_id: row.child})
CREATE (m)-[f:FORMERLY]->(n)
SET f = row.props, f.until = datetime(row.moments.until)
RETURN count(f) AS count;
