// What detection says of some models as a whole; null removes an earlier answer.
// Nothing follows SET but the count: a MATCH behind it that finds nothing would end the statement early on the embedded store.
// params: rows (hub_id, answer, reason, reason_values, probability), run_id, now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.hub_id})
SET c += {
  answer: row.answer,
  answer_reason: row.reason,
  answer_reason_values: row.reason_values,
  answer_probability: row.probability,
  answered_by_run: $run_id,
  answered_at: now
}
RETURN count(c) AS count;
