// What quantised copies of one architecture claim as their base, where that is of another architecture or none is known of it.
// params: signature      columns: child, parent (hub_id), name, sources, weights_digest, quantised (the parent itself)
MATCH (child:Model {signature: $signature})-[d:DECLARES_BASE]->(parent:Model)
WHERE child.reason STARTS WITH 'quantised: ' AND (parent.signature IS NULL OR parent.signature <> $signature)
RETURN child.hub_id AS child, parent.hub_id AS parent, parent.repo_id AS name, d.sources AS sources,
       parent.weights_digest AS weights_digest, coalesce(parent.reason, '') STARTS WITH 'quantised: ' AS quantised
ORDER BY child, parent
