-- Statements on jobs, their events and their runners.
-- Arguments: named like the columns; times are Unix seconds. Results: rows as they stand, or the number of rows changed.

-- name: add_lane
INSERT INTO job_lanes (namespace, function, priority) VALUES (:namespace, :function, :priority)
ON CONFLICT DO NOTHING

-- name: find_lane
SELECT lane FROM job_lanes WHERE namespace = :namespace AND function = :function AND priority = :priority

-- name: add_job
INSERT INTO jobs (
    id, lane, namespace, function, ref, method, priority, content_type, accept, body, body_blob, digest,
    idempotency_key, source, webhook_ids_json, max_age_s, max_attempts, timeout_s, state, created_s, not_before_s,
    expires_s, last_event
) VALUES (
    :id, :lane, :namespace, :function, :ref, :method, :priority, :content_type, :accept, :body, :body_blob, :digest,
    :idempotency_key, :source, :webhook_ids_json, :max_age_s, :max_attempts, :timeout_s, 'queued', :created_s,
    :not_before_s, :expires_s, 1
)
ON CONFLICT DO NOTHING
RETURNING {record}

-- name: same_job
SELECT {record}, digest FROM jobs WHERE id = :id
UNION ALL
SELECT {record}, digest FROM jobs WHERE namespace = :namespace AND idempotency_key = :idempotency_key
LIMIT 1

-- name: add_event
INSERT INTO job_events (job, number, at_s, kind, data_json) VALUES (:job, :number, :at_s, :kind, :data_json)

-- name: next_event
UPDATE jobs SET last_event = last_event + 1 WHERE seq = :seq RETURNING last_event

-- name: note_progress
UPDATE jobs SET progress = :progress, progress_message = :message WHERE seq = :seq

-- name: drop_events
DELETE FROM job_events WHERE job = :seq AND kind <> 'state' AND number <= :number - :kept

-- name: select_jobs
SELECT {record} FROM jobs

-- name: find_job
SELECT {record} FROM jobs WHERE id = :id

-- name: body
SELECT body, body_blob FROM jobs WHERE id = :id

-- name: result
SELECT result, result_type, result_status, result_blob FROM jobs WHERE id = :id AND state = 'succeeded'

-- name: events
SELECT number, at_s, kind, data_json FROM job_events
WHERE job = (SELECT seq FROM jobs WHERE id = :id) AND number > :after ORDER BY number LIMIT :limit

-- name: due_lanes
SELECT lane, namespace, function, priority FROM job_lanes
WHERE EXISTS (
    SELECT 1 FROM jobs
    WHERE jobs.lane = job_lanes.lane AND jobs.state = 'queued' AND jobs.not_before_s <= :now_s
)

-- name: upcoming
SELECT namespace, function, MIN((
    SELECT MIN(not_before_s) FROM jobs
    WHERE jobs.lane = job_lanes.lane AND jobs.state = 'queued' AND jobs.not_before_s > :now_s
)) AS at_s FROM job_lanes
GROUP BY namespace, function HAVING at_s IS NOT NULL

-- name: claim
UPDATE jobs SET state = 'starting', runner = :runner, run = run + 1, attempts = attempts + 1, started_s = :now_s,
    last_event = last_event + 1
WHERE seq IN (
    SELECT seq FROM jobs WHERE lane = :lane AND state = 'queued' AND not_before_s <= :now_s AND expires_s > :now_s
    ORDER BY not_before_s, seq LIMIT :limit
)
RETURNING {record}, body, body_blob

-- name: move
UPDATE jobs SET state = :state, last_event = last_event + 1
WHERE id = :id AND runner = :runner AND run = :run AND state = :before
RETURNING {record}

-- name: put_back
UPDATE jobs SET state = 'queued', runner = NULL, not_before_s = :not_before_s, attempts = attempts - :uncounted,
    delays = delays + :uncounted, problem_json = :problem_json, last_event = last_event + 1
WHERE id = :id AND runner = :runner AND run = :run AND state IN ('starting', 'running')
RETURNING {record}

-- name: end_run
UPDATE jobs SET state = :state, runner = NULL, finished_s = :now_s, result = :result, result_blob = :result_blob,
    result_bytes = :result_bytes, result_type = :result_type, result_status = :result_status,
    problem_json = :problem_json, receipt_json = :receipt_json, last_event = last_event + 1
WHERE id = :id AND runner = :runner AND run = :run AND state IN ('starting', 'running')
RETURNING {record}

-- name: cancel
UPDATE jobs SET state = 'canceled', runner = NULL, finished_s = :now_s, last_event = last_event + 1
WHERE id = :id AND state IN ('queued', 'starting', 'running')
RETURNING {record}

-- name: revive
UPDATE jobs SET state = 'queued', runner = NULL, attempts = 0, delays = 0,
    not_before_s = :now_s, expires_s = :now_s + max_age_s, started_s = NULL, finished_s = NULL, result = NULL,
    result_blob = NULL, result_bytes = 0, result_type = '', result_status = 0, problem_json = NULL,
    receipt_json = NULL, progress = NULL, progress_message = '', last_event = last_event + 1
WHERE id = :id AND state = :before
RETURNING {record}

-- name: replace_body
UPDATE jobs SET body = :body, body_blob = :body_blob, content_type = :content_type, digest = :digest WHERE id = :id

-- name: expired
SELECT id FROM jobs INDEXED BY jobs_expiring WHERE state = 'queued' AND expires_s <= :now_s LIMIT :limit

-- name: expire
UPDATE jobs SET state = 'expired', finished_s = :now_s, problem_json = :problem_json, last_event = last_event + 1
WHERE id = :id AND state = 'queued'
RETURNING {record}

-- name: renew
INSERT INTO job_runners (runner, lease_until_s) VALUES (:runner, :lease_until_s)
ON CONFLICT (runner) DO UPDATE SET lease_until_s = :lease_until_s

-- name: leave
DELETE FROM job_runners WHERE runner = :runner

-- name: bury
DELETE FROM job_runners WHERE lease_until_s <= :now_s AND runner <> :runner

-- name: orphans
SELECT {record} FROM jobs INDEXED BY jobs_running
WHERE runner IS NOT NULL AND runner <> :runner AND runner NOT IN (
    SELECT runner FROM job_runners WHERE lease_until_s > :alive_s
)
ORDER BY seq LIMIT :limit

-- name: held
SELECT id, run FROM jobs WHERE runner = :runner

-- name: ended_before
SELECT {record}, body_blob, result_blob FROM jobs
WHERE finished_s <= :finished_s AND state = :state ORDER BY finished_s LIMIT :limit

-- name: oldest_results
SELECT {record}, body_blob, result_blob FROM jobs
WHERE finished_s IS NOT NULL AND result_bytes > 0 ORDER BY finished_s LIMIT :limit

-- name: kept_bytes
SELECT COALESCE(SUM(result_bytes), 0) FROM jobs WHERE finished_s IS NOT NULL

-- name: delete_job
DELETE FROM jobs WHERE id = :id AND finished_s IS NOT NULL

-- name: blobs
SELECT body_blob FROM jobs WHERE body_blob IS NOT NULL
UNION ALL
SELECT result_blob FROM jobs WHERE result_blob IS NOT NULL

-- name: open_jobs
SELECT namespace, function, state, COUNT(*) FROM jobs INDEXED BY jobs_open
WHERE state IN ('queued', 'starting', 'running') GROUP BY namespace, function, state
