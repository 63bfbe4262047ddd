// Every edge of one type. RELATION is replaced by the type.
// params: none      columns: child, parent, props
MATCH (c:Model)-[r:RELATION]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, properties(r) AS props;
