// Claims of the models under some marks are about to be linked.
// params: marks      columns: hub_ids
UNWIND $marks AS mark
MATCH (d:LinkDue {hub_id: mark})
WITH d, coalesce(d.hub_ids, [d.hub_id]) AS hub_ids
DELETE d
RETURN hub_ids;
