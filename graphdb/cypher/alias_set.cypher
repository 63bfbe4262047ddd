// Further names of models on disk; like former names they count where no model bears the name itself.
// params: rows (hub_id, key), now      columns: count
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
MERGE (n:FormerName {key: row.key})
MERGE (m)-[f:FORMERLY]->(n)
SET f.until = datetime($now)
RETURN count(m) AS count;
