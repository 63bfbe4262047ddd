// Models of one architecture: those without a known parent first.
// params: signature, limit      columns: model, answer
MATCH (:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(m:Model)
WHERE m.weights_digest IS NOT NULL
RETURN properties(m) AS model, m.answer AS answer
ORDER BY CASE WHEN m.answer IN ['root', 'no_relatives', 'undecided'] THEN 0 ELSE 1 END, m.hub_id
LIMIT $limit;
