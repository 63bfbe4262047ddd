// Which of some models are in the graph.
// params: hub_ids      columns: hub_id
UNWIND $hub_ids AS hub_id
MATCH (m:Model {hub_id: hub_id})
RETURN m.hub_id AS hub_id;
