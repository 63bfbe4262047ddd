// Models whose name, or the last part of it, begins with a text.
// params: prefix (lower case), limit      columns: hub_id, repo_id, license, downloads, answer, key
MATCH (m:Model)
WHERE m.name_key STARTS WITH $prefix
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.license AS license, m.downloads AS downloads, m.answer AS answer,
       m.name_key AS key
ORDER BY key
LIMIT $limit
UNION
MATCH (m:Model)
WHERE m.short_key STARTS WITH $prefix
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.license AS license, m.downloads AS downloads, m.answer AS answer,
       m.short_key AS key
ORDER BY key
LIMIT $limit;
