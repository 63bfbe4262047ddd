// Of some models, those that are gone from the Hub: deleted or private.
// params: models (hub_ids)      columns: repo_id
UNWIND $models AS model
MATCH (m:Model {hub_id: model, status: 'gone'})
RETURN m.repo_id AS repo_id
ORDER BY repo_id;
