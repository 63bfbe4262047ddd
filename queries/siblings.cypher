// Other children of the parents of one model.
// params: model (hub_id)      columns: repo_id, parents (names of the parents they share)
MATCH (m:Model {hub_id: $model})-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(p:Model)
WITH DISTINCT m, p
MATCH (p)<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(s:Model)
WHERE s.hub_id <> $model
WITH DISTINCT s, p
ORDER BY p.repo_id
RETURN s.repo_id AS repo_id, collect(p.repo_id) AS parents
ORDER BY repo_id;
