// Models with certain licences that others come from, in no order.
// params: licenses      columns: hub_id
MATCH (a:Model)
WHERE a.license IN $licenses
  AND EXISTS { (a)<-[:FINE_TUNED_FROM|QUANTIZED_FROM|ADAPTER_OF|MERGED_FROM|COPY_OF]-(:Model) }
RETURN a.hub_id AS hub_id;
