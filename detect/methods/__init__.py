"""Ways of deciding who was trained from whom: `lineage` and published ones, one file each, listed in `registry`."""
