// Models that claim a base other than themselves and have no parent that was found, because the graph does not know the base.
// params: limit      columns: repo_id, answer, declared
MATCH (m:Model)
WHERE m.declared_bases IS NOT NULL
  AND NOT EXISTS { (m)-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|DECLARES_BASE]->(:Model) }
UNWIND m.declared_bases AS base
WITH DISTINCT m.hub_id AS hub_id, m.repo_id AS repo_id, m.answer AS answer, base
WHERE toLower(base) <> toLower(repo_id)
WITH hub_id, repo_id, answer, base
ORDER BY base
WITH hub_id, repo_id, answer, collect(base) AS declared
RETURN repo_id, answer, declared
ORDER BY repo_id, hub_id
LIMIT $limit;
