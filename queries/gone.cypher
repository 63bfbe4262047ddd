// Models that are gone from the Hub: deleted or private. The reason holds the two days on which the Hub said so.
// params: none      columns: repo_id, reason
MATCH (m:Model {status: 'gone'})
RETURN m.repo_id AS repo_id, m.reason AS reason
ORDER BY repo_id, m.hub_id;
