// Who inherits a flaw of one model: everything that comes from it within ten generations, over the way whose weakest edge is
// strongest, and of such ways the shortest.
// params: model (hub_id), min_probability (of the weakest edge)      columns: repo_id, weakest, generations, way (names)
MATCH path = (:Model {hub_id: $model})<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*1..10]-(d:Model)
WHERE d.hub_id <> $model AND ALL(r IN relationships(path) WHERE r.probability >= $min_probability)
WITH d, length(path) AS generations, [m IN nodes(path) | m.repo_id] AS way,
     reduce(least = 1.0, r IN relationships(path) | CASE WHEN r.probability < least THEN r.probability ELSE least END) AS weakest
ORDER BY weakest DESC, generations, way
WITH d, collect({weakest: weakest, generations: generations, way: way})[0] AS best
RETURN d.repo_id AS repo_id, best.weakest AS weakest, best.generations AS generations, best.way AS way
ORDER BY weakest DESC, generations, repo_id;
