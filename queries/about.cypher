// What is known of some models.
// params: models (hub_ids)      columns: hub_id, repo_id, revision, weights_digest, license, library, created_at
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.revision AS revision, m.weights_digest AS weights_digest,
       m.license AS license, m.library AS library, m.created_at AS created_at
ORDER BY hub_id;
