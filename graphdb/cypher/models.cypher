// Every model.
// params: none      columns: model
MATCH (m:Model)
RETURN properties(m) AS model;
