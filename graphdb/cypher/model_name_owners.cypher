// Who bears a name now.
// params: name_keys      columns: name_key, hub_id, repo_id
UNWIND $name_keys AS name_key
MATCH (m:Model {name_key: name_key})
RETURN m.name_key AS name_key, m.hub_id AS hub_id, m.repo_id AS repo_id;
