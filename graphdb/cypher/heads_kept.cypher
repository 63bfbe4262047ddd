// The models that heads_set.cypher kept on an architecture.
// params: signature      columns: heads
MATCH (a:Architecture {signature: $signature})
WHERE a.heads IS NOT NULL
RETURN a.heads AS heads;
