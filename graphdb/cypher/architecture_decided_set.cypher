// Keeps a digest of what was compared when an architecture was decided about, so that the same is not decided again.
// params: signature, decided      columns: count
MATCH (a:Architecture {signature: $signature})
SET a.decided = $decided
RETURN count(a) AS count;
