// Every model that is tied to an architecture.
// params: none      columns: child (hub_id), parent (signature)
MATCH (m:Model)-[:HAS_ARCHITECTURE]->(a:Architecture)
RETURN m.hub_id AS child, a.signature AS parent;
