// Ties models to the architectures in their signature, one for each backbone; rows only for models whose signature is new or changed.
// params: rows (hub_id, signature)      columns: count
UNWIND $rows AS row
MERGE (a:Architecture {signature: row.signature})
WITH row, a
MATCH (m:Model {hub_id: row.hub_id})
MERGE (m)-[h:HAS_ARCHITECTURE]->(a)
RETURN count(h) AS count;
