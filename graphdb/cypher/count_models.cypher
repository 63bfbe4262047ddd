// params: none      columns: count
MATCH (m:Model)
RETURN count(m) AS count;
