// What some models claim; no row for one that claims nothing.
// params: hub_ids      columns: hub_id, bases, relations, sources
UNWIND $hub_ids AS hub_id
MATCH (m:Model {hub_id: hub_id})
WHERE m.declared_bases IS NOT NULL
RETURN m.hub_id AS hub_id, m.declared_bases AS bases, m.declared_relations AS relations, m.declared_sources AS sources;
