// Replaces all claims of some models; null lists remove them.
// params: rows (hub_id, bases, relations, sources)      columns: count
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
SET m.declared_bases = row.bases,
    m.declared_relations = row.relations,
    m.declared_sources = row.sources
RETURN count(m) AS count;
