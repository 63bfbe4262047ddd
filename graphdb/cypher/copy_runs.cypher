// Runs of another store, into an empty one.
// params: rows (props, moments)      columns: count
UNWIND $rows AS row
CREATE (r:Run)
SET r = row.props,
    r.started_at = datetime(row.moments.started_at),
    r.finished_at = datetime(row.moments.finished_at)
RETURN count(r) AS count;
