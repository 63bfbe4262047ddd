// What was compared when an architecture was last decided about.
// params: none      columns: signature, decided
MATCH (a:Architecture)
WHERE a.decided IS NOT NULL
RETURN a.signature AS signature, a.decided AS decided;
