// Every architecture.
// params: none      columns: props
MATCH (a:Architecture)
RETURN properties(a) AS props;
