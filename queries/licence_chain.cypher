// The licences above one model, nearest first; `lineage licences` says which of them contradict each other.
// params: model (hub_id)      columns: depth, repo_id, license
MATCH path = (:Model {hub_id: $model})-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*0..20]->(a:Model)
WITH a, min(length(path)) AS depth
RETURN depth, a.repo_id AS repo_id, a.license AS license
ORDER BY depth, repo_id;
