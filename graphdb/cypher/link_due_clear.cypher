// Claims of some models are about to be linked.
// params: hub_ids      columns: count
UNWIND $hub_ids AS hub_id
MATCH (d:LinkDue {hub_id: hub_id})
DELETE d
RETURN count(*) AS count;
