// Everything one model comes from, nearest first, each model once. Merges of merges have many ways: see parents.cypher.
// params: model (hub_id)      columns: depth, repo_id, hub_id
MATCH path = (:Model {hub_id: $model})-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*1..20]->(a:Model)
WITH a, min(length(path)) AS depth
WHERE a.hub_id <> $model
RETURN depth, a.repo_id AS repo_id, a.hub_id AS hub_id
ORDER BY depth, repo_id, hub_id;
