// Edges of one type that are not there yet. RELATION is replaced by the type.
// The properties are listed one by one: an edge that is written once costs half of one that is created and then set.
// params: rows (child, parent, props), now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MATCH (c:Model {hub_id: row.child})
MATCH (p:Model {hub_id: row.parent})
CREATE (c)-[r:RELATION {
  probability: row.props.probability,
  method: row.props.method,
  method_version: row.props.method_version,
  decided_by: row.props.decided_by,
  evidence: row.props.evidence,
  child_revision: row.props.child_revision,
  parent_revision: row.props.parent_revision,
  share: row.props.share,
  parts: row.props.parts,
  run_id: row.props.run_id,
  child_digest: c.weights_digest,
  parent_digest: p.weights_digest,
  first_verified_at: now,
  last_verified_at: now
}]->(p)
RETURN count(r) AS count;
