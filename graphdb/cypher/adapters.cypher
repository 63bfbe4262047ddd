// Some adapters with what they claim, and the digest of what each was last decided from.
// params: hub_ids      columns: model, bases, relations, sources, decided
UNWIND $hub_ids AS hub_id
MATCH (m:Model {hub_id: hub_id})
RETURN properties(m) AS model, m.declared_bases AS bases, m.declared_relations AS relations,
       m.declared_sources AS sources, m.decided AS decided;
