// The largest families: models without a known parent, and all that comes from them.
// params: limit      columns: repo_id, children, descendants
MATCH (c:Model)-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(m:Model)
WHERE NOT EXISTS { (m)-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(:Model) }
WITH m, count(DISTINCT c) AS children
ORDER BY children DESC, m.repo_id, m.hub_id
LIMIT $limit
CALL (m) {
  MATCH (m)<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*1..20]-(d:Model)
  RETURN count(DISTINCT d) AS descendants
}
RETURN m.repo_id AS repo_id, children, descendants
ORDER BY descendants DESC, repo_id;
