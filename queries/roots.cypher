// Models with children but without a parent that is known, those with most children first.
// params: kinds (relations that count), min_probability, limit      columns: hub_id, repo_id, children
MATCH (c:Model)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]->(m:Model)
WHERE type(r) IN $kinds AND coalesce(r.probability, 1.0) >= $min_probability
WITH m, count(DISTINCT c) AS children
WHERE NOT EXISTS {
  MATCH (m)-[up:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]->(:Model)
  WHERE type(up) IN $kinds AND coalesce(up.probability, 1.0) >= $min_probability
}
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, children
ORDER BY children DESC, repo_id, hub_id
LIMIT $limit;
