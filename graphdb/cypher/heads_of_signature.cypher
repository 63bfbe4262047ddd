// Models of an architecture that was not decided about, those without a known parent first: of more than $walked those that come first
// in no order.
// params: signature, walked, limit      columns: model, answer
MATCH (:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(m:Model)
WITH m LIMIT $walked
WITH m WHERE m.weights_digest IS NOT NULL
WITH m
ORDER BY CASE WHEN m.answer IN ['root', 'no_relatives', 'undecided'] THEN 0 ELSE 1 END, m.hub_id
LIMIT $limit
RETURN properties(m) AS model, m.answer AS answer
ORDER BY CASE WHEN m.answer IN ['root', 'no_relatives', 'undecided'] THEN 0 ELSE 1 END, m.hub_id;
