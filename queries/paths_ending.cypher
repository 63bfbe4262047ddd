// Models on disk by the last part of their path.
// params: last_parts (short keys)      columns: hub_id, path
MATCH (m:Model)
WHERE m.short_key IN $last_parts AND m.path IS NOT NULL
RETURN m.hub_id AS hub_id, m.path AS path
ORDER BY path, hub_id;
