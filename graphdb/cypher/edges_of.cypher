// The current edges of some models, ties included, with the weights that they are about and those of today.
// params: hub_ids      columns: child, parent, kind, child_digest, parent_digest, child_digest_now, parent_digest_now
UNWIND $hub_ids AS hub_id
MATCH (c:Model {hub_id: hub_id})
MATCH (c)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, type(r) AS kind,
       r.child_digest AS child_digest, r.parent_digest AS parent_digest,
       c.weights_digest AS child_digest_now, p.weights_digest AS parent_digest_now;
