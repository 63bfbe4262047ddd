// Architectures of another store, into an empty one.
// params: rows (props, moments)      columns: count
UNWIND $rows AS row
CREATE (a:Architecture)
SET a = row.props
RETURN count(a) AS count;
