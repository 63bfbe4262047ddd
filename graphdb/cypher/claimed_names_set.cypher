// Ties models to the names that they claim as their base, so that a model that takes such a name finds its claimants.
// params: rows (hub_id, name_key)      columns: count
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
MERGE (n:ClaimedName {key: row.name_key})
MERGE (m)-[c:CLAIMS]->(n)
RETURN count(c) AS count;
