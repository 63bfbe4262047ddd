// What detection says of some models as a whole; null removes an earlier answer. Answers with their current edges, ties included.
// params: rows (hub_id, answer, reason, reason_values, probability), run_id, now
// columns: child, parent, kind, child_digest, parent_digest, child_digest_now, parent_digest_now
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
WITH c
MATCH (c)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, type(r) AS kind,
       r.child_digest AS child_digest, r.parent_digest AS parent_digest,
       c.weights_digest AS child_digest_now, p.weights_digest AS parent_digest_now;
