// Models that claim a base and have no parent that was found, because the graph does not know the base.
// params: limit      columns: repo_id, answer, declared
MATCH (m:Model)
WHERE m.declared_bases IS NOT NULL
  AND NOT EXISTS { (m)-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|DECLARES_BASE]->(:Model) }
RETURN m.repo_id AS repo_id, m.answer AS answer, m.declared_bases AS declared
ORDER BY repo_id
LIMIT $limit;
