// How models are quantized, out of the reason where earlier versions kept it.
// params: none      columns: count
MATCH (m:Model)
WHERE m.reason STARTS WITH 'quantised: '
SET m.quantisation = substring(m.reason, 11),
    m.reason = null
RETURN count(m) AS count;
