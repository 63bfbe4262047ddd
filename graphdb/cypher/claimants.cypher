// Every model that claims a base, with its claims.
// params: none      columns: hub_id, bases, relations, sources
MATCH (m:Model)
WHERE m.declared_bases IS NOT NULL
RETURN m.hub_id AS hub_id, m.declared_bases AS bases, m.declared_relations AS relations, m.declared_sources AS sources;
