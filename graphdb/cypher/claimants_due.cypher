// Claims of some names are to be linked again, because the names mean other models now.
// params: name_keys, now      columns: count
WITH datetime($now) AS now
UNWIND $name_keys AS name_key
MATCH (:ClaimedName {key: name_key})<-[:CLAIMS]-(m:Model)
MERGE (d:LinkDue {hub_id: m.hub_id})
SET d.since = now
RETURN count(*) AS count;
