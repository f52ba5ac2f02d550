-- Triggers: topics of brokers, and CloudEvents over HTTP, that start functions.
-- Arguments: none. Result: version 5 of the file of durable work.

CREATE TABLE triggers (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    function TEXT NOT NULL,
    ref TEXT,
    method TEXT,
    -- The whole URL, with its credentials.
    url_sealed BLOB NOT NULL,
    shown_url TEXT NOT NULL,
    topic TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    results TEXT NOT NULL,
    dead_letters TEXT NOT NULL,
    passed TEXT NOT NULL,
    start TEXT NOT NULL,
    max_in_flight INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    reply_type TEXT NOT NULL,
    is_paused INTEGER NOT NULL,
    created_s REAL NOT NULL,
    updated_s REAL NOT NULL,
    UNIQUE (namespace, name)
);
