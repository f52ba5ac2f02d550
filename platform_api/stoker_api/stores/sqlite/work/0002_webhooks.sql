-- Webhooks: who wants to hear of what, and every message until it was heard.
-- Arguments: none. Result: version 2 of the file of durable work.

CREATE TABLE webhook_endpoints (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events_json TEXT NOT NULL,
    secret_sealed BLOB NOT NULL,
    -- The secret before the last rotation: it signs too until old_until_s.
    old_sealed BLOB,
    old_until_s REAL,
    is_enabled INTEGER NOT NULL DEFAULT 1,
    disabled_reason TEXT NOT NULL DEFAULT '',
    created_s REAL NOT NULL,
    updated_s REAL NOT NULL
);

CREATE INDEX webhook_endpoints_by_namespace ON webhook_endpoints (namespace, id);

CREATE TABLE webhook_deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    -- Another URL of the endpoint's origin, where a job asked for it.
    url TEXT,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL,
    created_s REAL NOT NULL,
    give_up_s REAL NOT NULL,
    next_s REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    ended_s REAL,
    last_status INTEGER,
    last_error TEXT NOT NULL DEFAULT ''
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, next_s) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (next_s) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint, seq);
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_s) WHERE ended_s IS NOT NULL;

CREATE TABLE webhook_attempts (
    delivery INTEGER NOT NULL REFERENCES webhook_deliveries (seq) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at_s REAL NOT NULL,
    took_s REAL NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    excerpt TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;
