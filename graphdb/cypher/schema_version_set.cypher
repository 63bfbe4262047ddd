// Writes down the version of the schema.
// params: version, now      columns: version
MERGE (s:LineageSchema {name: 'lineage'})
SET s.version = $version, s.changed_at = datetime($now)
RETURN s.version AS version;
