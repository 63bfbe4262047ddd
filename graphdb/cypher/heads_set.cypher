// Keeps some models of an architecture on it, those without a known parent first, so that a large one need not be walked to find them.
// params: signature, limit      columns: count
MATCH (a:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(m:Model)
WHERE m.weights_digest IS NOT NULL
WITH a, m
ORDER BY CASE WHEN m.answer IN ['root', 'no_relatives', 'undecided'] THEN 0 ELSE 1 END, m.hub_id
LIMIT $limit
WITH a, collect(m.hub_id) AS heads
SET a.heads = heads
RETURN count(a) AS count;
