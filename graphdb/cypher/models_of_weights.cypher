// Every model with these weight files.
// params: weights_digest      columns: model
MATCH (m:Model {weights_digest: $weights_digest})
RETURN properties(m) AS model
ORDER BY m.hub_id;
