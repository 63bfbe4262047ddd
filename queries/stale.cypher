// Edges whose evidence is about other weights than the models have now: they wait for the next detection.
// params: limit      columns: child, kind, parent, probability, verified_at, changed
MATCH (c:Model)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(p:Model)
WITH c, r, p, coalesce(r.child_digest, '') <> coalesce(c.weights_digest, '') AS child_changed,
     coalesce(r.parent_digest, '') <> coalesce(p.weights_digest, '') AS parent_changed
WHERE child_changed OR parent_changed
RETURN c.repo_id AS child, type(r) AS kind, p.repo_id AS parent, r.probability AS probability,
       r.last_verified_at AS verified_at,
       CASE WHEN child_changed AND parent_changed THEN 'both' WHEN child_changed THEN 'child' ELSE 'parent' END AS changed
ORDER BY child, parent, kind
LIMIT $limit;
