// When the first pass began: nothing in the graph is older.
// params: none      columns: started_at
MATCH (r:Run)
RETURN r.started_at AS started_at
ORDER BY started_at
LIMIT 1;
