// The latest passes, newest first.
// params: limit      columns: run_id, command, started_at, finished_at, summary
MATCH (r:Run)
RETURN r.run_id AS run_id, r.command AS command, r.started_at AS started_at, r.finished_at AS finished_at, r.summary AS summary
ORDER BY started_at DESC, run_id
LIMIT $limit;
