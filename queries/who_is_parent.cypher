// One model by its identity, else by its name, else by a name it had last, with the parents found, the possible ones and the claimed bases.
// params: hub_id, name_key
// columns: model, near (maps: kind, hub_id, repo_id, status, signature, probability, share, decided_by, evidence, method, method_version, verified_at, base)
CALL () {
  MATCH (m:Model {hub_id: $hub_id})
  RETURN m, 0 AS rank, null AS until
  UNION ALL
  MATCH (m:Model {name_key: $name_key})
  RETURN m, 1 AS rank, null AS until
  UNION ALL
  MATCH (n:FormerName {key: $name_key})<-[f:FORMERLY]-(m:Model)
  RETURN m, 2 AS rank, f.until AS until
}
WITH m, rank, until
ORDER BY rank, until DESC, m.hub_id
LIMIT 1
OPTIONAL MATCH (m)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]->(p:Model)
RETURN properties(m) AS model, collect({
  kind: type(r), hub_id: p.hub_id, repo_id: p.repo_id, status: p.status, signature: p.signature,
  probability: r.probability, share: r.share, decided_by: r.decided_by, evidence: r.evidence, method: r.method,
  method_version: r.method_version, verified_at: r.last_verified_at, base: r.base
}) AS near;
