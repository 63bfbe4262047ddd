// Keeps a digest of what was compared when an architecture was decided about, so that the same is not decided again, and its sizes.
// params: signature, decided, sizes      columns: count
MATCH (a:Architecture {signature: $signature})
SET a.decided = $decided,
  a.sizes = $sizes
RETURN count(a) AS count;
