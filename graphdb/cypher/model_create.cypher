// Models that are not in the graph yet, tied to the names that they claim; of a property that is null nothing is kept.
// The properties are listed one by one: a model that is written once costs two thirds of one that is merged and then set.
// params: rows (hub_id, props, created_at, last_modified, weights_since, seen; with claims: bases, relations, sources, name_keys), now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
CREATE (m:Model {
  hub_id: row.hub_id,
  repo_id: row.props.repo_id,
  name_key: row.props.name_key,
  short_key: row.props.short_key,
  status: row.props.status,
  reason: row.props.reason,
  revision: row.props.revision,
  weights_digest: row.props.weights_digest,
  signature: row.props.signature,
  downloads: row.props.downloads,
  license: row.props.license,
  library: row.props.library,
  quantisation: row.props.quantisation,
  path: row.props.path,
  aliases: row.props.aliases,
  declared_bases: row.bases,
  declared_relations: row.relations,
  declared_sources: row.sources,
  first_seen: now,
  created_at: datetime(row.created_at),
  last_modified: datetime(row.last_modified),
  weights_since: datetime(row.weights_since),
  last_seen: CASE WHEN row.seen THEN now ELSE null END
})
WITH m, row
UNWIND row.name_keys AS name_key
MERGE (n:ClaimedName {key: name_key})
CREATE (m)-[c:CLAIMS]->(n)
RETURN count(c) AS count;
