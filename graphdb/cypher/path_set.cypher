// Where models on disk lie, of which earlier versions kept only a name; models of a cache are read anew by the next crawl.
// params: none      columns: count
MATCH (m:Model)
WHERE m.hub_id STARTS WITH 'local:' AND m.path IS NULL AND m.repo_id STARTS WITH '/'
SET m.path = m.repo_id
RETURN count(m) AS count;
