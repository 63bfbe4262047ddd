// What changed since a moment: edges that are new, and edges that no longer hold.
// params: since (ISO date or moment), limit      columns: changed_at, change, child, kind, parent, probability, run_id
MATCH (c:Model)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(p:Model)
WHERE r.first_verified_at >= datetime($since)
RETURN r.first_verified_at AS changed_at, 'new' AS change, c.repo_id AS child, type(r) AS kind, p.repo_id AS parent,
       r.probability AS probability, r.run_id AS run_id
ORDER BY changed_at, child, parent, kind
LIMIT $limit
UNION ALL
MATCH (c:Model)-[r:SUPERSEDED]->(p:Model)
WHERE r.superseded_at >= datetime($since)
RETURN r.superseded_at AS changed_at, 'superseded' AS change, c.repo_id AS child, r.kind AS kind, p.repo_id AS parent,
       r.probability AS probability, r.superseded_by_run AS run_id
ORDER BY changed_at, child, parent, kind
LIMIT $limit;
