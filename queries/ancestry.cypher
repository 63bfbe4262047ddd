// Every accepted edge above some models, five generations in one statement: most models have no more above them.
// Four generations of merges of ten models each are ten thousand ways, so a longer pattern would not do.
// params: models (hub_ids)      columns: via, hub_id, repo_id, kind, probability
UNWIND $models AS model
MATCH (:Model {hub_id: model})-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*0..4]->(c:Model)
WITH DISTINCT c
MATCH (c)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(p:Model)
RETURN c.hub_id AS via, p.hub_id AS hub_id, p.repo_id AS repo_id, type(r) AS kind, r.probability AS probability
ORDER BY via, hub_id, kind;
