// The first children of some models that have children themselves, those with most of them first, and how many children there are in all.
// A third of the time of first_children.cypher where there are thousands.
// params: models (hub_ids), min_probability, shown (edges of one model)      columns: via, hub_id, kind, probability, children, total
UNWIND $models AS model
MATCH (m:Model {hub_id: model})
CALL (m) {
  MATCH (m)<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(c:Model)
  WHERE r.probability >= $min_probability
  RETURN count(DISTINCT c) AS total
}
CALL (m) {
  MATCH (m)<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(c:Model)<-[below:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(g:Model)
  WHERE r.probability >= $min_probability AND below.probability >= $min_probability
  WITH c, type(r) AS kind, r.probability AS probability, count(DISTINCT g) AS children
  ORDER BY children DESC, c.repo_id, c.hub_id, kind
  LIMIT $shown
  RETURN c, kind, probability, children
}
RETURN m.hub_id AS via, c.hub_id AS hub_id, kind, probability, children, total
ORDER BY via, children DESC, c.repo_id, hub_id, kind;
