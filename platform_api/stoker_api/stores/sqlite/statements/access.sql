-- Statements on tokens, deployer keys and secrets. Each is named by the line before it.

-- name: load_tokens
-- Result: every token in the order of creation.
SELECT id, name, token_sha256, scopes_json, namespaces_json, created_at, expires_at FROM tokens ORDER BY rowid;

-- name: load_keys
-- Result: every (token, key).
SELECT token_id, public_key FROM deployer_keys;

-- name: add_token
-- Arguments: the columns by name.
INSERT INTO tokens VALUES (:id, :name, :token_sha256, :scopes_json, :namespaces_json, :created_at, :expires_at);

-- name: delete_token
-- Arguments: id.
DELETE FROM tokens WHERE id = :id;

-- name: trust_key
-- Arguments: token_id, public_key.
INSERT OR IGNORE INTO deployer_keys VALUES (:token_id, :public_key);

-- name: load_secrets
-- Result: every sealed value.
SELECT namespace, name, sealed, updated_at FROM secrets ORDER BY namespace, name;

-- name: put_secret
-- Arguments: the columns by name.
INSERT INTO secrets VALUES (:namespace, :name, :sealed, :updated_at)
ON CONFLICT (namespace, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at;

-- name: delete_secret
-- Arguments: namespace, name.
DELETE FROM secrets WHERE namespace = :namespace AND name = :name;
