// The parents a model had in the graph at a moment, whatever became of them since.
// params: model (hub_id), at (ISO date or moment)      columns: repo_id, kind, probability, run_id, verified_at, superseded_at
MATCH (m:Model {hub_id: $model})-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|SUPERSEDED]->(p:Model)
WHERE r.first_verified_at <= datetime($at) AND (r.superseded_at IS NULL OR r.superseded_at > datetime($at))
RETURN p.repo_id AS repo_id, coalesce(r.kind, type(r)) AS kind, r.probability AS probability, r.run_id AS run_id,
       r.last_verified_at AS verified_at, r.superseded_at AS superseded_at
ORDER BY probability DESC, repo_id, kind;
