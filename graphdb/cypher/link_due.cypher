// Marks of models whose claims are to be linked: the claims are new, or the names in them mean other models now.
// params: none      columns: mark, models (how many)
MATCH (d:LinkDue)
RETURN d.hub_id AS mark, size(coalesce(d.hub_ids, [d.hub_id])) AS models;
