// Models that bear or bore some names: rank 1 now, 2 formerly.
// params: name_keys      columns: rank, name_key, until, hub_id
UNWIND $name_keys AS name_key
MATCH (m:Model {name_key: name_key})
RETURN 1 AS rank, name_key, null AS until, m.hub_id AS hub_id
UNION ALL
UNWIND $name_keys AS name_key
MATCH (n:FormerName {key: name_key})<-[f:FORMERLY]-(m:Model)
RETURN 2 AS rank, name_key, f.until AS until, m.hub_id AS hub_id;
