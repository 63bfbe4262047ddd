// Every model that has a current claim edge, with the other end.
// params: none      columns: child, parent, base, relation, sources
MATCH (c:Model)-[r:DECLARES_BASE]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, r.base AS base, r.relation AS relation, r.sources AS sources;
