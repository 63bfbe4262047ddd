// Models with equal weight files under several names, without repositories that were deleted and made again.
// params: limit      columns: weights_digest, count, repo_ids
MATCH (m:Model)
WHERE m.weights_digest IS NOT NULL AND coalesce(m.answer, '') <> 'replaced'
WITH m.weights_digest AS weights_digest, m.repo_id AS repo_id
ORDER BY repo_id
WITH weights_digest, collect(repo_id) AS repo_ids
WHERE size(repo_ids) > 1
RETURN weights_digest, size(repo_ids) AS count, repo_ids
ORDER BY count DESC, weights_digest
LIMIT $limit;
