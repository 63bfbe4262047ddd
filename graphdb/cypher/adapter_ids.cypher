// Identities of all adapters.
// params: none      columns: hub_id
MATCH (m:Model {status: 'adapter'})
RETURN m.hub_id AS hub_id
ORDER BY hub_id;
