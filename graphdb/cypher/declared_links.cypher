// Current claim edges of some models.
// params: hub_ids      columns: child, parent, base, relation, sources
UNWIND $hub_ids AS hub_id
MATCH (c:Model {hub_id: hub_id})-[r:DECLARES_BASE]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, r.base AS base, r.relation AS relation, r.sources AS sources;
