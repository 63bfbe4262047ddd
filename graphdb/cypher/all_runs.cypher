// Every run.
// params: none      columns: props
MATCH (r:Run)
RETURN properties(r) AS props;
