// The children of some models, one generation down; see parents.cypher for why one at a time.
// params: models (hub_ids), kinds (relations to follow), min_probability      columns: via, hub_id, repo_id, kind, probability
UNWIND $models AS model
MATCH (m:Model {hub_id: model})<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]-(c:Model)
WHERE type(r) IN $kinds AND coalesce(r.probability, 1.0) >= $min_probability
RETURN m.hub_id AS via, c.hub_id AS hub_id, c.repo_id AS repo_id, type(r) AS kind, r.probability AS probability
ORDER BY via, hub_id, kind;
