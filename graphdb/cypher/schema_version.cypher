// Which version of the schema the graph has; no row in a graph that is not ours.
// params: none      columns: version
MATCH (s:LineageSchema {name: 'lineage'})
RETURN s.version AS version;
