// The children that some models had in the graph at a moment, with the children that those had then.
// params: models (hub_ids), at (ISO moment), min_probability      columns: via, hub_id, kind, probability, children, total (null)
UNWIND $models AS model
MATCH (m:Model {hub_id: model})<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|SUPERSEDED]-(c:Model)
WHERE r.first_verified_at <= datetime($at) AND (r.superseded_at IS NULL OR r.superseded_at > datetime($at))
  AND coalesce(r.kind, type(r)) <> 'POSSIBLE_PARENT' AND r.probability >= $min_probability
OPTIONAL MATCH (c)<-[b:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|SUPERSEDED]-(g:Model)
WHERE b.first_verified_at <= datetime($at) AND (b.superseded_at IS NULL OR b.superseded_at > datetime($at))
  AND coalesce(b.kind, type(b)) <> 'POSSIBLE_PARENT' AND b.probability >= $min_probability
WITH model AS via, c.hub_id AS hub_id, c.repo_id AS name, coalesce(r.kind, type(r)) AS kind, r.probability AS probability,
     count(DISTINCT g) AS children
RETURN via, hub_id, kind, probability, children, null AS total
ORDER BY via, children DESC, name, hub_id, kind;
