// Keeps digests of what adapters were decided from, so that the same is not decided again.
// params: rows (hub_id, decided)      columns: count
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
SET m.decided = row.decided
RETURN count(m) AS count;
