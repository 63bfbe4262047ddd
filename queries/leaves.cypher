// Models that come from another and that nothing comes from.
// params: limit      columns: repo_id, parent, kind, probability
MATCH (m:Model)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(p:Model)
WHERE NOT EXISTS { (m)<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(:Model) }
RETURN m.repo_id AS repo_id, p.repo_id AS parent, type(r) AS kind, r.probability AS probability
ORDER BY repo_id, parent, kind
LIMIT $limit;
