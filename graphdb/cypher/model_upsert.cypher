// Models as of the last crawl, by identity. A property that is null in row.props is removed.
// params: rows (hub_id, props, created_at, last_modified, weights_since, seen), now      columns: count
WITH datetime($now) AS now
UNWIND $rows AS row
MERGE (m:Model {hub_id: row.hub_id})
SET m += row.props,
    m += {
      first_seen: coalesce(m.first_seen, now),
      created_at: coalesce(datetime(row.created_at), m.created_at),
      last_modified: coalesce(datetime(row.last_modified), m.last_modified),
      weights_since: coalesce(datetime(row.weights_since), m.weights_since),
      last_seen: CASE WHEN row.seen THEN now ELSE m.last_seen END
    }
RETURN count(m) AS count;
