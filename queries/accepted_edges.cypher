// The accepted edges of some models to their parents, with what decided them.
// params: models (hub_ids)      columns: child, parent (hub_id), kind, probability, decided_by, method, share
UNWIND $models AS model
MATCH (c:Model {hub_id: model})-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]->(p:Model)
RETURN c.hub_id AS child, p.hub_id AS parent, type(r) AS kind, r.probability AS probability,
       r.decided_by AS decided_by, r.method AS method, r.share AS share
ORDER BY child, probability DESC, parent, kind;
