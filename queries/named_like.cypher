// Models whose name, or the last part of it, begins with a text: of more than the limit, those that the index gives first, in no order.
// params: prefix (lower case), limit (of names, and of last parts)      columns: hub_id, repo_id, license, downloads, answer
MATCH (m:Model)
WHERE m.name_key STARTS WITH $prefix
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.license AS license, m.downloads AS downloads, m.answer AS answer
LIMIT $limit
UNION ALL
MATCH (m:Model)
WHERE m.short_key STARTS WITH $prefix
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.license AS license, m.downloads AS downloads, m.answer AS answer
LIMIT $limit;
