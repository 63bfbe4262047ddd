// Models whose claims are to be linked: their claims are new, or the names in them stand for other models now.
// params: none      columns: hub_id
MATCH (d:LinkDue)
RETURN d.hub_id AS hub_id;
