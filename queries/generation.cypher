// The models exactly this many generations above one: 1 its parents, 2 its grandparents, 3 its great-grandparents.
// params: model (hub_id), generation      columns: generation, repo_id, hub_id
MATCH path = (:Model {hub_id: $model})-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*1..20]->(a:Model)
WITH a, min(length(path)) AS generation
WHERE generation = $generation AND a.hub_id <> $model
RETURN generation, a.repo_id AS repo_id, a.hub_id AS hub_id
ORDER BY repo_id, hub_id;
