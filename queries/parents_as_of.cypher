// The parents and possible parents that some models had in the graph at a moment.
// params: models (hub_ids), at (ISO moment)      columns: child, parent (hub_id), kind, probability, first_verified_at, superseded_at
UNWIND $models AS model
MATCH (c:Model {hub_id: model})-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|SUPERSEDED]->(p:Model)
WHERE r.first_verified_at <= datetime($at) AND (r.superseded_at IS NULL OR r.superseded_at > datetime($at))
RETURN c.hub_id AS child, p.hub_id AS parent, coalesce(r.kind, type(r)) AS kind, r.probability AS probability,
       r.first_verified_at AS first_verified_at, r.superseded_at AS superseded_at
ORDER BY child, probability DESC, parent, kind;
