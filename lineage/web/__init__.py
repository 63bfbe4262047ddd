"""`lineage web`: the graph as pages, read only. Search, families, the evidence of an edge, declared against detected, licences, runs."""
