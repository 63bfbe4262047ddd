// The parents of some models, one generation up. Walking up generation by generation (and not in one pattern `*1..20`)
// looks at each edge once; merges of merges would give a pattern millions of paths.
// params: models (hub_ids), kinds (relations to follow), min_probability      columns: via, hub_id, repo_id, kind, probability
UNWIND $models AS model
MATCH (m:Model {hub_id: model})-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]->(p:Model)
WHERE type(r) IN $kinds AND coalesce(r.probability, 1.0) >= $min_probability
RETURN m.hub_id AS via, p.hub_id AS hub_id, p.repo_id AS repo_id, type(r) AS kind, r.probability AS probability
ORDER BY via, hub_id, kind;
