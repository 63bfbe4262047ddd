// The shortest ways from one model up to another, edge by edge, with what decided each edge.
// params: a (hub_id), b (hub_id)      columns: way (names), kinds, probabilities, decided_by, evidence
MATCH (a:Model {hub_id: $a}), (b:Model {hub_id: $b})
MATCH path = allShortestPaths((a)-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*1..20]->(b))
RETURN [m IN nodes(path) | m.repo_id] AS way,
       [r IN relationships(path) | type(r)] AS kinds,
       [r IN relationships(path) | r.probability] AS probabilities,
       [r IN relationships(path) | r.decided_by] AS decided_by,
       [r IN relationships(path) | r.evidence] AS evidence
ORDER BY way, kinds;
