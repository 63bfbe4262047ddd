// Which models of one architecture claim which others of it as their base.
// params: signature      columns: child, parent (hub_id)
MATCH (a:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(child:Model)
MATCH (child)-[:DECLARES_BASE]->(parent:Model)
WHERE parent.signature CONTAINS $signature
RETURN child.hub_id AS child, parent.hub_id AS parent
ORDER BY child, parent
