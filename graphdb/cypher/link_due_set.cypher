// Models that were just made, all of them to be linked; one mark for all, since each mark is a node to be made and deleted.
// params: mark (one of the models), hub_ids, now      columns: count
MERGE (d:LinkDue {hub_id: $mark})
SET d.since = datetime($now), d.hub_ids = coalesce(d.hub_ids, []) + $hub_ids
RETURN count(d) AS count;
