// Everything that comes from one model, nearest first, each model once.
// params: model (hub_id)      columns: depth, repo_id, hub_id
MATCH path = (:Model {hub_id: $model})<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*1..20]-(d:Model)
WITH d, min(length(path)) AS depth
WHERE d.hub_id <> $model
RETURN depth, d.repo_id AS repo_id, d.hub_id AS hub_id
ORDER BY depth, repo_id, hub_id;
