-- Statements on functions, revisions and aliases. Each is named by the line before it.

-- name: load_functions
-- Result: every function in the order of creation.
SELECT namespace, name, created_at, next_number, scaling_json, is_deleted FROM functions ORDER BY rowid;

-- name: load_revisions
-- Result: every revision, by function and number.
SELECT namespace, name, number, created_at, handler, options_json, bundle_sha256, signature, public_key,
       manifest_json, schema_json, content_sha256, environment_digest
FROM revisions ORDER BY namespace, name, number;

-- name: load_aliases
-- Result: every (alias, revision, weight).
SELECT a.namespace, a.name, a.alias, a.trail_json, w.number, w.weight
FROM aliases a JOIN alias_weights w USING (namespace, name, alias)
ORDER BY a.namespace, a.name, a.alias, w.number;

-- name: take_number
-- Arguments: namespace, name, created_at, number. Changes no row where the number has been used.
INSERT INTO functions (namespace, name, created_at, next_number)
VALUES (:namespace, :name, :created_at, :number + 1)
ON CONFLICT (namespace, name) DO UPDATE
SET next_number = excluded.next_number,
    created_at = CASE WHEN is_deleted THEN excluded.created_at ELSE created_at END,
    is_deleted = 0
WHERE excluded.next_number > next_number;

-- name: add_revision
-- Arguments: the columns by name.
INSERT INTO revisions VALUES (:namespace, :name, :number, :created_at, :handler, :options_json, :bundle_sha256,
                              :signature, :public_key, :manifest_json, :schema_json, :content_sha256,
                              :environment_digest);

-- name: put_alias
-- Arguments: namespace, name, alias, trail_json.
INSERT INTO aliases VALUES (:namespace, :name, :alias, :trail_json)
ON CONFLICT (namespace, name, alias) DO UPDATE SET trail_json = excluded.trail_json;

-- name: clear_weights
-- Arguments: namespace, name, alias.
DELETE FROM alias_weights WHERE namespace = :namespace AND name = :name AND alias = :alias;

-- name: put_weight
-- Arguments: namespace, name, alias, number, weight.
INSERT INTO alias_weights VALUES (:namespace, :name, :alias, :number, :weight);

-- name: delete_alias
-- Arguments: namespace, name, alias.
DELETE FROM aliases WHERE namespace = :namespace AND name = :name AND alias = :alias;

-- name: delete_aliases
-- Arguments: namespace, name.
DELETE FROM aliases WHERE namespace = :namespace AND name = :name;

-- name: set_scaling
-- Arguments: namespace, name, scaling_json.
UPDATE functions SET scaling_json = :scaling_json WHERE namespace = :namespace AND name = :name AND NOT is_deleted;

-- name: delete_revision
-- Arguments: namespace, name, number.
DELETE FROM revisions WHERE namespace = :namespace AND name = :name AND number = :number;

-- name: delete_revisions
-- Arguments: namespace, name.
DELETE FROM revisions WHERE namespace = :namespace AND name = :name;

-- name: delete_function
-- Arguments: namespace, name. The row stays, for its next number.
UPDATE functions SET is_deleted = 1, scaling_json = '' WHERE namespace = :namespace AND name = :name AND NOT is_deleted;
