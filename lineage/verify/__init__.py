"""`lineage verify`: what is claimed of a model, checked against its weights. Holds, is contradicted, or cannot be told."""
