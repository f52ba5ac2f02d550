-- Statements on schedules and their runs.
-- Arguments: named like the columns; times are Unix seconds. Results: rows as they stand, or the number of rows changed.

-- name: add
INSERT INTO schedules (
    id, namespace, name, origin, function, schedule_json, target_json, webhook_ids_json, is_paused, cursor_s,
    created_s, updated_s
) VALUES (
    :id, :namespace, :name, :origin, :function, :schedule_json, :target_json, :webhook_ids_json, :is_paused, :cursor_s,
    :created_s, :updated_s
)

-- name: change
UPDATE schedules SET origin = :origin, function = :function, schedule_json = :schedule_json,
    target_json = :target_json, webhook_ids_json = :webhook_ids_json, is_paused = :is_paused, cursor_s = :cursor_s,
    updated_s = :updated_s
WHERE id = :id

-- name: move_cursor
UPDATE schedules SET cursor_s = :cursor_s WHERE id = :id

-- name: delete
DELETE FROM schedules WHERE id = :id

-- name: by_id
SELECT id, namespace, name, origin, function, schedule_json, target_json, webhook_ids_json, is_paused, cursor_s,
    created_s, updated_s
FROM schedules WHERE id = :id

-- name: by_name
SELECT id, namespace, name, origin, function, schedule_json, target_json, webhook_ids_json, is_paused, cursor_s,
    created_s, updated_s
FROM schedules WHERE namespace = :namespace AND name = :name

-- name: all
SELECT id, namespace, name, origin, function, schedule_json, target_json, webhook_ids_json, is_paused, cursor_s,
    created_s, updated_s
FROM schedules WHERE :namespace IS NULL OR namespace = :namespace ORDER BY namespace, name

-- name: open_runs
SELECT state, count(*) FROM schedule_runs
WHERE schedule = :schedule AND ended_s IS NULL AND (kind = 'backfill') = :is_backfill GROUP BY state

-- name: add_run
INSERT INTO schedule_runs (
    id, schedule, tick_s, last_s, count, kind, once_key, state, reason, decided_s, ended_s
) VALUES (
    :id, :schedule, :tick_s, :last_s, :count, :kind, :once_key, :state, :reason, :decided_s, :ended_s
)
ON CONFLICT DO NOTHING RETURNING seq

-- name: newest_run
SELECT seq, state, reason, kind FROM schedule_runs WHERE schedule = :schedule ORDER BY seq DESC LIMIT 1

-- name: lengthen_skip
UPDATE schedule_runs SET last_s = :last_s, count = count + :count, decided_s = :decided_s, ended_s = :decided_s
WHERE seq = :seq

-- name: begin
UPDATE schedule_runs SET state = 'running', work_id = :work_id, started_s = :now_s WHERE seq = :seq

-- name: next_waiting
SELECT seq FROM schedule_runs
WHERE schedule = :schedule AND state = 'waiting' AND ended_s IS NULL AND (kind = 'backfill') = :is_backfill
ORDER BY seq LIMIT 1

-- name: drop_waiting
UPDATE schedule_runs SET state = 'canceled', reason = :reason, ended_s = :now_s
WHERE schedule = :schedule AND state = 'waiting' AND ended_s IS NULL AND kind <> 'backfill'

-- name: ask_cancel
UPDATE schedule_runs SET cancel_asked = 1
WHERE schedule = :schedule AND state = 'running' AND ended_s IS NULL AND kind <> 'backfill'

-- name: to_cancel
SELECT work_id FROM schedule_runs WHERE cancel_asked = 1 AND ended_s IS NULL ORDER BY seq LIMIT 1000

-- name: run_of_work
SELECT seq, id, schedule, tick_s, last_s, count, kind, state, reason, decided_s, work_id, started_s, ended_s
FROM schedule_runs WHERE work_id = :work_id

-- name: run
SELECT seq, id, schedule, tick_s, last_s, count, kind, state, reason, decided_s, work_id, started_s, ended_s
FROM schedule_runs WHERE seq = :seq

-- name: end_run
UPDATE schedule_runs SET state = :state, reason = :reason, ended_s = :now_s WHERE seq = :seq

-- name: history
SELECT seq, id, schedule, tick_s, last_s, count, kind, state, reason, decided_s, work_id, started_s, ended_s
FROM schedule_runs WHERE schedule = :schedule AND seq < :before ORDER BY seq DESC LIMIT :limit

-- name: prune
DELETE FROM schedule_runs WHERE schedule = :schedule AND ended_s IS NOT NULL AND seq <= (
    SELECT seq FROM schedule_runs WHERE schedule = :schedule ORDER BY seq DESC LIMIT 1 OFFSET :kept
)
