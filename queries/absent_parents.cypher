// Models of one architecture that were found to come, or possibly to come, from a model whose architecture is not known now,
// because it cannot be read at present; as far as its weights are known, they are still the same.
// params: signature      columns: child, parent (hub_id)
MATCH (:Architecture {signature: $signature})<-[:HAS_ARCHITECTURE]-(child:Model)
MATCH (child)-[r:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF|POSSIBLE_PARENT]->(parent:Model)
WHERE parent.signature IS NULL AND coalesce(parent.weights_digest, r.parent_digest) = r.parent_digest
RETURN child.hub_id AS child, parent.hub_id AS parent
ORDER BY child, parent;
