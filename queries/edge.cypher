// Every relation between two models, from the first to the second: what holds now, what the card claims, and what held once.
// params: child (hub_id), parent (hub_id)
// columns: child, parent, kind, probability, decided_by, method, method_version, share, parts, evidence, run_id, first_verified_at, last_verified_at, superseded_at, child_revision, parent_revision, child_digest, parent_digest, child_digest_now, parent_digest_now
MATCH (c:Model {hub_id: $child})-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE|SUPERSEDED]->(p:Model {hub_id: $parent})
RETURN c.hub_id AS child, p.hub_id AS parent, coalesce(r.kind, type(r)) AS kind, r.probability AS probability,
       r.decided_by AS decided_by, r.method AS method, r.method_version AS method_version, r.share AS share, r.parts AS parts,
       r.evidence AS evidence, r.run_id AS run_id, r.first_verified_at AS first_verified_at,
       r.last_verified_at AS last_verified_at, r.superseded_at AS superseded_at,
       r.child_revision AS child_revision, r.parent_revision AS parent_revision,
       r.child_digest AS child_digest, r.parent_digest AS parent_digest,
       c.weights_digest AS child_digest_now, p.weights_digest AS parent_digest_now
ORDER BY coalesce(toString(superseded_at), '9999') DESC, kind;
