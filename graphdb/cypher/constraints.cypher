// What the graph guarantees by itself, and the indexes that lookups need. Each statement can be repeated.
CREATE CONSTRAINT model_hub_id IF NOT EXISTS
FOR (m:Model) REQUIRE m.hub_id IS UNIQUE;

CREATE CONSTRAINT architecture_signature IF NOT EXISTS
FOR (a:Architecture) REQUIRE a.signature IS UNIQUE;

CREATE CONSTRAINT run_run_id IF NOT EXISTS
FOR (r:Run) REQUIRE r.run_id IS UNIQUE;

CREATE CONSTRAINT former_name_key IF NOT EXISTS
FOR (n:FormerName) REQUIRE n.key IS UNIQUE;

CREATE CONSTRAINT schema_name IF NOT EXISTS
FOR (s:LineageSchema) REQUIRE s.name IS UNIQUE;

CREATE INDEX model_name_key IF NOT EXISTS
FOR (m:Model) ON (m.name_key);

CREATE INDEX model_short_key IF NOT EXISTS
FOR (m:Model) ON (m.short_key);

CREATE INDEX model_signature IF NOT EXISTS
FOR (m:Model) ON (m.signature);

CREATE INDEX model_weights_digest IF NOT EXISTS
FOR (m:Model) ON (m.weights_digest);

CREATE CONSTRAINT claimed_name_key IF NOT EXISTS
FOR (n:ClaimedName) REQUIRE n.key IS UNIQUE;

CREATE CONSTRAINT link_due_hub_id IF NOT EXISTS
FOR (d:LinkDue) REQUIRE d.hub_id IS UNIQUE;
