// Some models with the answers about them: those without a known parent first.
// params: hub_ids, limit      columns: model, answer
UNWIND $hub_ids AS hub_id
MATCH (m:Model {hub_id: hub_id})
WHERE m.weights_digest IS NOT NULL
RETURN properties(m) AS model, m.answer AS answer
ORDER BY CASE WHEN m.answer IN ['root', 'no_relatives', 'undecided'] THEN 0 ELSE 1 END, m.hub_id
LIMIT $limit;
