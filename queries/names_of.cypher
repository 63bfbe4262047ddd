// The names of some models.
// params: models (hub_ids)      columns: hub_id, repo_id
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id
ORDER BY hub_id;
