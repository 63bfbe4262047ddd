"""`lineage verify`: what is claimed of a model, checked against its weights. Confirmed, contradicted, or undecided."""
