// The accepted edges below some models down to the 64th generation, as parallel lists in no order, an edge once for each way to it.
// Merges of merges have millions of ways: after `ways` of them from one model it goes no further.
// params: models (hub_ids), ways      columns: top (of `models`), via (the parent), hub_id (the child), repo_id, claims (whether the child's card names a base), kind, probability
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
CALL (m) {
  MATCH (m)<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF*0..63]-(p:Model)<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(c:Model)
  RETURN p, r, c
  LIMIT $ways
}
RETURN collect(m.hub_id) AS top, collect(p.hub_id) AS via, collect(c.hub_id) AS hub_id, collect(c.repo_id) AS repo_id,
       collect(c.declared_bases IS NOT NULL) AS claims, collect(type(r)) AS kind, collect(r.probability) AS probability;
