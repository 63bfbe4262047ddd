// What detection says of some models as a whole; null removes an earlier answer.
// params: rows (hub_id, answer, reason, probability), run_id, now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MATCH (m:Model {hub_id: row.hub_id})
SET m += {
  answer: row.answer,
  answer_reason: row.reason,
  answer_probability: row.probability,
  answered_by_run: $run_id,
  answered_at: now
}
RETURN count(m) AS count;
