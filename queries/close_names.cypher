// Models whose name begins like the one that was asked for, or whose last part does: of more than the limit, those that the index gives
// first, in no order.
// params: name_prefix, short_prefix, limit      columns: repo_id
MATCH (m:Model)
WHERE m.name_key STARTS WITH $name_prefix
RETURN m.repo_id AS repo_id
LIMIT $limit
UNION
MATCH (m:Model)
WHERE m.short_key STARTS WITH $short_prefix
RETURN m.repo_id AS repo_id
LIMIT $limit;
