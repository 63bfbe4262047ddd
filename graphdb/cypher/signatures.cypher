// Architectures with the number of their models, largest first.
// params: none      columns: signature, count
MATCH (m:Model)-[:HAS_ARCHITECTURE]->(a:Architecture)
RETURN a.signature AS signature, count(*) AS count
ORDER BY count DESC, signature;
