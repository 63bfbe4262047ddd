// The children of some models in one row of parallel lists, in no order: two thirds of the time of a row for each. The probability of a claim is -1.
// params: models (hub_ids), kinds (relations to follow), min_probability      columns: via, hub_id, repo_id, kind, probability
UNWIND $models AS model
MATCH (m:Model {hub_id: model})<-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT|DECLARES_BASE]-(c:Model)
WHERE type(r) IN $kinds AND coalesce(r.probability, 1.0) >= $min_probability
WITH model AS via, c.hub_id AS hub_id, c.repo_id AS repo_id, type(r) AS kind, coalesce(r.probability, -1.0) AS probability
RETURN collect(via) AS via, collect(hub_id) AS hub_id, collect(repo_id) AS repo_id,
       collect(kind) AS kind, collect(probability) AS probability;
