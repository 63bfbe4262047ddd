// What quantized copies of one architecture claim as their base, where that is of another architecture or none is known of it.
// params: signature      columns: child, parent (hub_id), name, sources, weights_digest, quantized (the parent itself)
MATCH (:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(child:Model)
MATCH (child)-[d:DECLARES_BASE]->(parent:Model)
WHERE child.quantisation IS NOT NULL AND (parent.signature IS NULL OR NOT parent.signature CONTAINS $signature)
RETURN child.hub_id AS child, parent.hub_id AS parent, parent.repo_id AS name, d.sources AS sources,
       parent.weights_digest AS weights_digest, parent.quantisation IS NOT NULL AS quantized
ORDER BY child, parent
