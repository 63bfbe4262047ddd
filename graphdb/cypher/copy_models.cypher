// Models of another store, into an empty one.
// params: rows (props, moments)      columns: count
UNWIND $rows AS row
CREATE (m:Model)
SET m = row.props,
    m.created_at = datetime(row.moments.created_at),
    m.last_modified = datetime(row.moments.last_modified),
    m.weights_since = datetime(row.moments.weights_since),
    m.first_seen = datetime(row.moments.first_seen),
    m.last_seen = datetime(row.moments.last_seen),
    m.answered_at = datetime(row.moments.answered_at)
RETURN count(m) AS count;
