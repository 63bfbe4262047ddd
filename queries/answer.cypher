// What the graph says of one model as a whole: the answer of detection, and what the model claims of itself.
// params: model (hub_id)      columns: answer, reason, reason_values, probability, answered_at, run_id, bases, relations, sources
MATCH (m:Model {hub_id: $model})
RETURN m.answer AS answer, m.answer_reason AS reason, m.answer_reason_values AS reason_values, m.answer_probability AS probability,
       m.answered_at AS answered_at, m.answered_by_run AS run_id,
       m.declared_bases AS bases, m.declared_relations AS relations, m.declared_sources AS sources;
