// Which models of one architecture claim which others of it as their base.
// params: signature      columns: child, parent (hub_id)
MATCH (child:Model {signature: $signature})-[:DECLARES_BASE]->(parent:Model {signature: $signature})
RETURN child.hub_id AS child, parent.hub_id AS parent
ORDER BY child, parent
