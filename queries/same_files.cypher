// Models whose weight files have the same bytes as those of some models, these included, without repositories that were deleted and
// made again.
// params: models (hub_ids)      columns: weights_digest, hub_id, repo_id
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
WHERE m.weights_digest IS NOT NULL
WITH DISTINCT m.weights_digest AS weights_digest
MATCH (same:Model {weights_digest: weights_digest})
WHERE coalesce(same.answer, '') <> 'replaced'
RETURN weights_digest, same.hub_id AS hub_id, same.repo_id AS repo_id
ORDER BY weights_digest, repo_id, hub_id;
