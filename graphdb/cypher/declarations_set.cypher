// Replaces all claims of some models; null lists remove them. What comes of it is worked out by the next linking.
// params: rows (hub_id, bases, relations, sources), now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
SET m += {declared_bases: row.bases, declared_relations: row.relations, declared_sources: row.sources}
MERGE (d:LinkDue {hub_id: row.hub_id})
SET d.since = now
RETURN count(m) AS count;
