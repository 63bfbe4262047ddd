// Architectures with the number of their models, largest first.
// params: none      columns: signature, count
MATCH (m:Model)
WHERE m.signature IS NOT NULL
RETURN m.signature AS signature, count(*) AS count
ORDER BY count DESC, signature;
