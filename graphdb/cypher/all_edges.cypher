// Every edge of one type. RELATION stands for the type.
// params: none      columns: child, parent, props
MATCH (c:Model)-[r:RELATION]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, properties(r) AS props;
