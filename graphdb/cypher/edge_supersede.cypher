// Turns current edges into history. RELATION is replaced by their type.
// params: rows (child, parent), run_id, now      columns: count
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.child})-[r:RELATION]->(p:Model {hub_id: row.parent})
CREATE (c)-[s:SUPERSEDED]->(p)
SET s = properties(r)
SET s.kind = type(r), s.superseded_at = datetime($now), s.superseded_by_run = $run_id
DELETE r
RETURN count(*) AS count;
