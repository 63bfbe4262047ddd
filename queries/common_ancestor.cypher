// The models that two models both come from, one of the two included, those with the fewest generations in sum first.
// params: a (hub_id), b (hub_id)      columns: repo_id, above_a (generations), above_b (generations)
MATCH up = (:Model {hub_id: $a})-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*0..20]->(shared:Model)
WITH shared, min(length(up)) AS above_a
MATCH down = (shared)<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*0..20]-(:Model {hub_id: $b})
WITH shared, above_a, min(length(down)) AS above_b
RETURN shared.repo_id AS repo_id, above_a, above_b
ORDER BY above_a + above_b, repo_id;
