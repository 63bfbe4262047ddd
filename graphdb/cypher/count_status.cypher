// Models by how much of them could be read.
// params: none      columns: status, count
MATCH (m:Model)
RETURN m.status AS status, count(*) AS count
ORDER BY status;
