// What some models claim beside what was found in their weights.
// params: models (hub_ids)
// columns: hub_id, repo_id, status, signature, answer, answer_reason, answer_reason_values, bases, relations, sources, known (claimed bases that are in the graph), parents
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
OPTIONAL MATCH (m)-[d:DECLARES_BASE]->(b:Model)
WITH m, collect({base: d.base, hub_id: b.hub_id, repo_id: b.repo_id, status: b.status, signature: b.signature}) AS known
OPTIONAL MATCH (m)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(p:Model)
WITH m, known, collect({hub_id: p.hub_id, repo_id: p.repo_id, kind: type(r), probability: r.probability}) AS parents
RETURN m.hub_id AS hub_id, m.repo_id AS repo_id, m.status AS status, m.signature AS signature,
       m.answer AS answer, m.answer_reason AS answer_reason,
       m.answer_reason_values AS answer_reason_values, m.declared_bases AS bases,
       m.declared_relations AS relations, m.declared_sources AS sources, known, parents
ORDER BY hub_id;
