// Edges of one type. RELATION stands for the type.
// params: none      columns: count
MATCH ()-[r:RELATION]->()
RETURN count(r) AS count;
