// Unties models from the architecture they no longer have.
// params: hub_ids      columns: count
UNWIND $hub_ids AS hub_id
MATCH (m:Model {hub_id: hub_id})-[h:HAS_ARCHITECTURE]->(:Architecture)
DELETE h
RETURN count(*) AS count;
