// Every model of one architecture.
// params: signature      columns: model
MATCH (m:Model {signature: $signature})
RETURN properties(m) AS model
ORDER BY m.hub_id;
