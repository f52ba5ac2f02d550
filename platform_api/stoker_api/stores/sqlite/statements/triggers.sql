-- Statements on triggers.
-- Arguments: named like the columns; times are Unix seconds. Results: rows as they stand, or the number of rows changed.

-- name: add
INSERT INTO triggers (
    id, namespace, name, kind, function, ref, method, url_sealed, shown_url, topic, consumer_group, results,
    dead_letters, passed, start, max_in_flight, max_attempts, reply_type, is_paused, created_s, updated_s
) VALUES (
    :id, :namespace, :name, :kind, :function, :ref, :method, :url_sealed, :shown_url, :topic, :consumer_group, :results,
    :dead_letters, :passed, :start, :max_in_flight, :max_attempts, :reply_type, :is_paused, :created_s, :updated_s
)

-- name: all
SELECT id, namespace, name, kind, function, ref, method, url_sealed, shown_url, topic, consumer_group, results,
    dead_letters, passed, start, max_in_flight, max_attempts, reply_type, is_paused, created_s, updated_s
FROM triggers ORDER BY namespace, name

-- name: change
UPDATE triggers SET is_paused = :is_paused, max_in_flight = :max_in_flight, max_attempts = :max_attempts,
    updated_s = :updated_s
WHERE id = :id

-- name: delete
DELETE FROM triggers WHERE id = :id
