// All that pages show of some models: what they are, what detection answered, what they claim.
// params: models (hub_ids)
// columns: hub_id, repo_id, status, reason, revision, weights_digest, signature, license, library, created_at, downloads, answer, answer_reason, answer_reason_values, answer_probability, answered_at, bases, relations, sources
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.status AS status, m.reason AS reason, m.revision AS revision,
       m.weights_digest AS weights_digest, m.signature AS signature, m.license AS license, m.library AS library,
       m.created_at AS created_at, m.downloads AS downloads, m.answer AS answer, m.answer_reason AS answer_reason,
       m.answer_reason_values AS answer_reason_values,
       m.answer_probability AS answer_probability, m.answered_at AS answered_at, m.declared_bases AS bases,
       m.declared_relations AS relations, m.declared_sources AS sources
ORDER BY hub_id;
