// Every model of one architecture.
// params: signature      columns: model
MATCH (:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(m:Model)
RETURN properties(m) AS model
ORDER BY m.hub_id;
