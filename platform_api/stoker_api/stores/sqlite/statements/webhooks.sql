-- Statements on webhook endpoints, deliveries and attempts.
-- Arguments: named like the columns; times are Unix seconds. Results: rows as they stand, or the number of rows changed.

-- name: add_endpoint
INSERT INTO webhook_endpoints (
    id, namespace, url, description, events_json, secret_sealed, is_enabled, created_s, updated_s
) VALUES (:id, :namespace, :url, :description, :events_json, :secret_sealed, 1, :now_s, :now_s)

-- name: endpoints
SELECT id, namespace, url, description, events_json, secret_sealed, old_sealed, old_until_s, is_enabled,
    disabled_reason, created_s, updated_s
FROM webhook_endpoints WHERE namespace = :namespace ORDER BY id

-- name: endpoint
SELECT id, namespace, url, description, events_json, secret_sealed, old_sealed, old_until_s, is_enabled,
    disabled_reason, created_s, updated_s
FROM webhook_endpoints WHERE id = :id

-- name: change_endpoint
UPDATE webhook_endpoints SET url = :url, description = :description, events_json = :events_json,
    is_enabled = :is_enabled, disabled_reason = :disabled_reason, updated_s = :now_s
WHERE id = :id

-- name: rotate
UPDATE webhook_endpoints SET old_sealed = secret_sealed, old_until_s = :old_until_s, secret_sealed = :secret_sealed,
    updated_s = :now_s
WHERE id = :id

-- name: delete_endpoint
DELETE FROM webhook_endpoints WHERE id = :id AND namespace = :namespace

-- name: add_delivery
INSERT INTO webhook_deliveries (
    id, endpoint, url, event, subject, body, state, created_s, give_up_s, next_s
) VALUES (:id, :endpoint, :url, :event, :subject, :body, 'pending', :now_s, :give_up_s, :now_s)

-- name: due_endpoints
SELECT DISTINCT endpoint FROM webhook_deliveries WHERE state = 'pending' AND next_s <= :now_s

-- name: due
SELECT d.seq, d.id, d.endpoint, d.url, d.event, d.subject, d.state, d.created_s, d.give_up_s, d.next_s, d.attempts,
    d.ended_s, d.last_status, d.last_error, d.body
FROM webhook_deliveries d WHERE d.endpoint = :endpoint AND d.state = 'pending' AND d.next_s <= :now_s
ORDER BY d.next_s, d.seq LIMIT :limit

-- name: lease
UPDATE webhook_deliveries SET next_s = :until_s WHERE seq = :seq

-- name: unlease
UPDATE webhook_deliveries SET next_s = :now_s WHERE state = 'pending' AND attempts = 0 AND next_s > :now_s

-- name: next_due
SELECT min(next_s) FROM webhook_deliveries WHERE state = 'pending'

-- name: pending
SELECT e.namespace, count(*), min(d.created_s) FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint
WHERE d.state = 'pending' GROUP BY e.namespace

-- name: end_attempt
UPDATE webhook_deliveries SET state = :state, attempts = attempts + 1, next_s = :next_s, ended_s = :ended_s,
    last_status = :status, last_error = :error
WHERE seq = :seq AND state = 'pending' RETURNING attempts

-- name: add_attempt
INSERT INTO webhook_attempts (delivery, number, at_s, took_s, status, error, excerpt)
VALUES (:seq, :number, :at_s, :took_s, :status, :error, :excerpt)

-- name: deliveries
SELECT seq, id, endpoint, url, event, subject, state, created_s, give_up_s, next_s, attempts, ended_s, last_status,
    last_error
FROM webhook_deliveries WHERE endpoint = :endpoint AND seq < :before AND (:state IS NULL OR state = :state)
ORDER BY seq DESC LIMIT :limit

-- name: delivery
SELECT seq, id, endpoint, url, event, subject, state, created_s, give_up_s, next_s, attempts, ended_s, last_status,
    last_error
FROM webhook_deliveries WHERE id = :id

-- name: attempts
SELECT number, at_s, took_s, status, error, excerpt FROM webhook_attempts WHERE delivery = :seq ORDER BY number

-- name: redeliver
UPDATE webhook_deliveries SET state = 'pending', next_s = :now_s, give_up_s = :give_up_s, ended_s = NULL
WHERE id = :id

-- name: purge
DELETE FROM webhook_deliveries WHERE seq IN (
    SELECT seq FROM webhook_deliveries WHERE ended_s IS NOT NULL AND ended_s < :before_s LIMIT :limit
)
