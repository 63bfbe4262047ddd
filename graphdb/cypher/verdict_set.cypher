// What detection says of some models as a whole; null removes an earlier answer.
// params: rows (hub_id, answer, reason, probability), run_id, now      columns: count
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
SET m.answer = row.answer,
    m.answer_reason = row.reason,
    m.answer_probability = row.probability,
    m.answered_by_run = $run_id,
    m.answered_at = datetime($now)
RETURN count(m) AS count;
