// params: none      columns: count
MATCH (a:Architecture)
RETURN count(a) AS count;
