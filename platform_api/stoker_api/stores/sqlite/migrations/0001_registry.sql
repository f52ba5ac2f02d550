-- Functions, revisions, aliases, tokens, deployer keys, secrets.
-- Arguments: none. Result: an empty database of version 1.
CREATE TABLE functions (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    next_number INTEGER NOT NULL,
    scaling_json TEXT NOT NULL DEFAULT '',
    is_deleted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, name)
);

CREATE TABLE revisions (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    handler TEXT NOT NULL,
    options_json TEXT NOT NULL,
    bundle_sha256 TEXT NOT NULL,
    signature BLOB NOT NULL,
    public_key BLOB NOT NULL,
    manifest_json TEXT NOT NULL,
    schema_json TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    environment_digest TEXT NOT NULL,
    PRIMARY KEY (namespace, name, number),
    FOREIGN KEY (namespace, name) REFERENCES functions (namespace, name)
);

CREATE TABLE aliases (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    trail_json TEXT NOT NULL,
    PRIMARY KEY (namespace, name, alias),
    FOREIGN KEY (namespace, name) REFERENCES functions (namespace, name)
);

-- An alias cannot point at a revision that is not there: the database says so itself.
CREATE TABLE alias_weights (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    number INTEGER NOT NULL,
    weight INTEGER NOT NULL CHECK (weight > 0),
    PRIMARY KEY (namespace, name, alias, number),
    FOREIGN KEY (namespace, name, alias) REFERENCES aliases (namespace, name, alias) ON DELETE CASCADE,
    FOREIGN KEY (namespace, name, number) REFERENCES revisions (namespace, name, number) DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    token_sha256 TEXT NOT NULL UNIQUE,
    scopes_json TEXT NOT NULL,
    namespaces_json TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT
);

CREATE TABLE deployer_keys (
    token_id TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    public_key BLOB NOT NULL,
    PRIMARY KEY (token_id, public_key)
);

CREATE TABLE secrets (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
);
