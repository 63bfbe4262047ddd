// Edges of one type. RELATION stands for the type.
// params: none      columns: count
MATCH (:Model)-[r:RELATION]->(:Model)
RETURN count(r) AS count;
