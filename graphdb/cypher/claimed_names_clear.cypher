// Unties models from the names that they claimed.
// params: hub_ids      columns: count
UNWIND $hub_ids AS hub_id
MATCH (m:Model {hub_id: hub_id})-[c:CLAIMS]->(:ClaimedName)
DELETE c
RETURN count(*) AS count;
