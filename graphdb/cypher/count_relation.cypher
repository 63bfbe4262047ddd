// Edges of one type. RELATION is replaced by the type.
// params: none      columns: count
MATCH ()-[r:RELATION]->()
RETURN count(r) AS count;
