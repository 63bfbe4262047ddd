// Models that claim a base or have a parent that was found: those worth comparing. Not those whose name another repository has taken.
// params: none      columns: hub_id
MATCH (m:Model)
WHERE (m.declared_bases IS NOT NULL OR m.answer = 'parent') AND NOT m.repo_id ENDS WITH ('#' + m.hub_id)
RETURN m.hub_id AS hub_id;
