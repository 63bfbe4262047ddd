// The immediate parent of one model with the evidence: accepted edges, then ties, then what the model claims.
// params: model (hub_id)
// columns: hub_id, repo_id, kind, probability, decided_by, evidence, method, method_version, share, parts, verified_at, run_id, base, relation, sources
MATCH (m:Model {hub_id: $model})-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]->(p:Model)
RETURN p.hub_id AS hub_id, p.repo_id AS repo_id, type(r) AS kind, r.probability AS probability,
       r.decided_by AS decided_by, r.evidence AS evidence, r.method AS method, r.method_version AS method_version,
       r.share AS share, r.parts AS parts, r.last_verified_at AS verified_at, r.run_id AS run_id,
       r.base AS base, r.relation AS relation, r.sources AS sources
ORDER BY
  CASE type(r) WHEN 'DECLARES_BASE' THEN 2 WHEN 'POSSIBLE_PARENT' THEN 1 ELSE 0 END,
  coalesce(r.probability, 0.0) DESC, repo_id, hub_id, kind;
