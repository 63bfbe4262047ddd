// Every name that a model once had, with the model.
// params: none      columns: child (hub_id), parent (key of the name), props
MATCH (m:Model)-[f:FORMERLY]->(n:FormerName)
RETURN m.hub_id AS child, n.key AS parent, properties(f) AS props;
