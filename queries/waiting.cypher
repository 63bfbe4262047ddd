// Models that wait for detection: sampled and never compared, or found with other weights since their edges were found.
// params: none      columns: status, models
MATCH (m:Model {status: 'sketched'})
WHERE m.answer IS NULL
WITH count(m) AS models
WHERE models > 0
RETURN 'never compared' AS status, models
ORDER BY status
UNION ALL
MATCH (m:Model)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(:Model)
WHERE coalesce(r.child_digest, '') <> coalesce(m.weights_digest, '')
WITH count(DISTINCT m) AS models
WHERE models > 0
RETURN 'stale' AS status, models
ORDER BY status;
