// Models whose name begins like the one that was asked for, or whose last part does.
// params: name_prefix, short_prefix, limit      columns: repo_id
MATCH (m:Model)
WHERE m.name_key STARTS WITH $name_prefix
RETURN m.repo_id AS repo_id
ORDER BY m.name_key
LIMIT $limit
UNION
MATCH (m:Model)
WHERE m.short_key STARTS WITH $short_prefix
RETURN m.repo_id AS repo_id
ORDER BY m.short_key
LIMIT $limit;
