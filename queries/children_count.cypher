// How many children some models have, directly.
// params: models (hub_ids), kinds (relations to follow), min_probability      columns: hub_id, children
UNWIND $models AS model
MATCH (m:Model {hub_id: model})<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]-(c:Model)
WHERE type(r) IN $kinds AND coalesce(r.probability, 1.0) >= $min_probability
RETURN m.hub_id AS hub_id, count(DISTINCT c) AS children
ORDER BY hub_id;
