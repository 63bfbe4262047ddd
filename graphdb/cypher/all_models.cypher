// Every model with all its properties.
// params: none      columns: props
MATCH (m:Model)
RETURN properties(m) AS props;
