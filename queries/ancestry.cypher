// The accepted edges above some models, up to ten generations in one statement, as parallel lists; of a model without parents one
// entry with '' for its parent. Merges of merges have millions of ways: after `ways` of them from one model it goes no further.
// params: models (hub_ids), ways      columns: via, hub_id, repo_id, kind, probability
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
CALL (m) {
  MATCH (m)-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*0..9]->(c:Model)
  RETURN c
  LIMIT $ways
}
WITH collect(DISTINCT c) AS above
UNWIND above AS c
OPTIONAL MATCH (c)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(p:Model)
RETURN collect(c.hub_id) AS via, collect(coalesce(p.hub_id, '')) AS hub_id, collect(coalesce(p.repo_id, '')) AS repo_id,
       collect(coalesce(type(r), '')) AS kind, collect(coalesce(r.probability, -1.0)) AS probability;
