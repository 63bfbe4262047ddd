// What the cards of one architecture's models name as their base, for those that name what the graph may not know.
// params: signature      columns: child (hub_id), name (its repo_id), bases (names), known (names of those that the graph knows)
MATCH (:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(child:Model)
WHERE child.declared_bases IS NOT NULL
OPTIONAL MATCH (child)-[d:DECLARES_BASE]->(:Model)
WITH child, d.base AS base
ORDER BY base
WITH child, collect(base) AS known
RETURN child.hub_id AS child, child.repo_id AS name, child.declared_bases AS bases, known
ORDER BY child;
