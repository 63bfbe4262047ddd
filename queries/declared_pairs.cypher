// Which models the models of one architecture claim as their base, whether these are of it, of another one, or were never read.
// params: signature      columns: child, parent (hub_id)
MATCH (a:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(child:Model)
MATCH (child)-[:DECLARES_BASE]->(parent:Model)
RETURN child.hub_id AS child, parent.hub_id AS parent
ORDER BY child, parent
