// params: none      columns: count
MATCH (r:Run)
RETURN count(r) AS count;
