// What the graph knows of some models before they are written again.
// params: hub_ids      columns: hub_id, repo_id, name_key, signature, weights_seen
UNWIND $hub_ids AS hub_id
MATCH (m:Model {hub_id: hub_id})
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.name_key AS name_key, m.signature AS signature,
  coalesce(m.weights_digest, m.weights_seen) AS weights_seen;
