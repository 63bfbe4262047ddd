// Names that models have now; the one they had before goes to their former names.
// params: rows (hub_id, repo_id, name_key, short_key, former, former_key), now      columns: count
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
SET m.repo_id = row.repo_id,
    m.name_key = row.name_key,
    m.short_key = row.short_key,
    m.former_names = [name IN coalesce(m.former_names, []) WHERE name <> row.former] + [row.former]
MERGE (n:FormerName {key: row.former_key})
MERGE (m)-[f:FORMERLY]->(n)
SET f.until = datetime($now)
RETURN count(m) AS count;
