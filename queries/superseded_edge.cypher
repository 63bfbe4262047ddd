// The last edge from a model to another one that no longer holds.
// params: model (hub_id), base (hub_id)
// columns: kind, probability, digest (of the other one's weights then), digest_now, superseded_at
MATCH (m:Model {hub_id: $model})-[r:SUPERSEDED]->(p:Model {hub_id: $base})
RETURN r.kind AS kind, r.probability AS probability, r.parent_digest AS digest, p.weights_digest AS digest_now,
       r.superseded_at AS superseded_at
ORDER BY superseded_at DESC, kind
LIMIT 1;
