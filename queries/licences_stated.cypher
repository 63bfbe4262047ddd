// Which licences occur, and of how many models.
// params: none      columns: license, models
MATCH (m:Model)
WHERE m.license IS NOT NULL
RETURN m.license AS license, count(*) AS models
ORDER BY models DESC, license;
