// Claims of models that claimed nothing before, with the names that they claim; both marked to be linked.
// params: rows (hub_id, bases, relations, sources, name_keys), now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
SET m += {declared_bases: row.bases, declared_relations: row.relations, declared_sources: row.sources}
MERGE (d:LinkDue {hub_id: row.hub_id})
SET d.since = now
WITH m, row
UNWIND row.name_keys AS name_key
MERGE (n:ClaimedName {key: name_key})
MERGE (m)-[c:CLAIMS]->(n)
RETURN count(c) AS count;
