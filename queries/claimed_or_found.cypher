// Models that claim a base or have a parent that was found: those worth comparing.
// params: none      columns: hub_id
MATCH (m:Model)
WHERE m.declared_bases IS NOT NULL OR m.answer = 'parent'
RETURN m.hub_id AS hub_id;
