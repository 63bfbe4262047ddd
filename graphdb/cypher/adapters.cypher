// Adapters with what they claim, and the digest of what each was last decided from, a page at a time.
// params: after (hub_id of the last one before), limit      columns: model, bases, relations, sources, decided
MATCH (m:Model {status: 'adapter'})
WHERE m.hub_id > $after
RETURN properties(m) AS model, m.declared_bases AS bases, m.declared_relations AS relations,
       m.declared_sources AS sources, m.decided AS decided
ORDER BY m.hub_id
LIMIT $limit;
