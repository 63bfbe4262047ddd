// One model by identity (rank 0), by its name (1) or by a name it had (2, latest first).
// params: hub_id, name_key      columns: rank, until, model
MATCH (m:Model {hub_id: $hub_id})
RETURN 0 AS rank, null AS until, properties(m) AS model
UNION ALL
MATCH (m:Model {name_key: $name_key})
RETURN 1 AS rank, null AS until, properties(m) AS model
UNION ALL
MATCH (n:FormerName {key: $name_key})<-[f:FORMERLY]-(m:Model)
RETURN 2 AS rank, f.until AS until, properties(m) AS model;
