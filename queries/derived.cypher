// The children of one model by relation: how many there are, and the first of them by name.
// params: model (hub_id), limit      columns: kind, total, first (hub_ids)
MATCH (m:Model {hub_id: $model})<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(c:Model)
WITH type(r) AS kind, c
ORDER BY c.repo_id, c.hub_id
WITH kind, collect(c.hub_id) AS children
RETURN kind, size(children) AS total, children[0..$limit] AS first
ORDER BY total DESC, kind;
