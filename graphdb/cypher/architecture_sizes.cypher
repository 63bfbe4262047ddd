// Sizes of the matrices in the blocks of each architecture: models of other names are looked for by them.
// params: none      columns: signature, sizes
MATCH (a:Architecture)
WHERE a.sizes IS NOT NULL
RETURN a.signature AS signature, a.sizes AS sizes;
