// The licences of some models.
// params: models (hub_ids)      columns: hub_id, license
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
RETURN m.hub_id AS hub_id, m.license AS license
ORDER BY hub_id;
