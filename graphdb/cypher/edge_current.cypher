// Current edges of some children, ties included.
// params: children (hub_ids)      columns: child, parent, kind, child_digest, parent_digest, child_digest_now, parent_digest_now
UNWIND $children AS child
MATCH (c:Model {hub_id: child})-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, type(r) AS kind,
       r.child_digest AS child_digest, r.parent_digest AS parent_digest,
       c.weights_digest AS child_digest_now, p.weights_digest AS parent_digest_now;
