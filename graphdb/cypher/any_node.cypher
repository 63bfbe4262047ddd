// Whether there is anything at all in the graph.
// params: none      columns: found
MATCH (n)
RETURN 1 AS found
LIMIT 1;
