// What comes from some models within six generations and states another licence than they do.
// params: models (hub_ids)      columns: hub_id, repo_id, license, ancestor (hub_id), ancestor_name, above, depth
UNWIND $models AS model
MATCH (a:Model {hub_id: model})
MATCH path = (a)<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*1..6]-(m:Model)
WHERE m.hub_id <> a.hub_id AND m.license IS NOT NULL AND m.license <> a.license
WITH a, m, min(length(path)) AS depth
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.license AS license, a.hub_id AS ancestor, a.repo_id AS ancestor_name,
       a.license AS above, depth
ORDER BY repo_id, depth, ancestor_name, hub_id, ancestor;
