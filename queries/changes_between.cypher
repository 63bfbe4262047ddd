// What changed between two moments: edges that are new, and edges that no longer held.
// params: since (ISO moment), until (ISO moment), limit      columns: changed_at, change, child, child_id, kind, parent, parent_id, probability, run_id
MATCH (c:Model)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(p:Model)
WHERE r.first_verified_at >= datetime($since) AND r.first_verified_at <= datetime($until)
RETURN r.first_verified_at AS changed_at, 'new' AS change, c.repo_id AS child, c.hub_id AS child_id, type(r) AS kind,
       p.repo_id AS parent, p.hub_id AS parent_id, r.probability AS probability, r.run_id AS run_id
ORDER BY changed_at DESC, child, parent, kind
LIMIT $limit
UNION ALL
MATCH (c:Model)-[r:SUPERSEDED]->(p:Model)
WHERE r.superseded_at >= datetime($since) AND r.superseded_at <= datetime($until)
RETURN r.superseded_at AS changed_at, 'superseded' AS change, c.repo_id AS child, c.hub_id AS child_id, r.kind AS kind,
       p.repo_id AS parent, p.hub_id AS parent_id, r.probability AS probability, r.superseded_by_run AS run_id
ORDER BY changed_at DESC, child, parent, kind
LIMIT $limit;
