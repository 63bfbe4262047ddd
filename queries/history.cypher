// What was once found of one model and no longer holds, the latest first.
// params: model (hub_id), limit      columns: parent (hub_id), kind, probability, method, method_version, first_verified_at, superseded_at
MATCH (m:Model {hub_id: $model})-[r:SUPERSEDED]->(p:Model)
RETURN p.hub_id AS parent, r.kind AS kind, r.probability AS probability, r.method AS method, r.method_version AS method_version,
       r.first_verified_at AS first_verified_at, r.superseded_at AS superseded_at
ORDER BY superseded_at DESC, parent, kind
LIMIT $limit;
