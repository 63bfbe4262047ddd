// One pass of a command, by its identity; summary is JSON text.
// params: run_id, command, started_at, finished_at, summary      columns: count
MERGE (r:Run {run_id: $run_id})
SET r.command = $command,
    r.started_at = datetime($started_at),
    r.finished_at = datetime($finished_at),
    r.summary = $summary
RETURN count(r) AS count;
