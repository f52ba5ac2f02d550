-- Statements on batch runs and the committed parts of their outputs.
-- Arguments: named like the columns; times are Unix seconds. Results: rows as they stand, or the number of rows changed.

-- name: add_batch
INSERT INTO batches (id, namespace, function, source, state, created_at_s, updated_at_s, spec_json)
VALUES (:id, :namespace, :function, :source, 'queued', :now_s, :now_s, :spec_json)
ON CONFLICT DO NOTHING

-- name: find_batch
SELECT spec_json, state, created_at_s, updated_at_s, started_at_s, ended_at_s, revision, problem_json, rows_total,
    is_published
FROM batches WHERE id = :id

-- name: list_batches
SELECT spec_json, state, created_at_s, updated_at_s, started_at_s, ended_at_s, revision, problem_json, rows_total,
    is_published
FROM batches
WHERE (:namespace IS NULL OR namespace = :namespace)
    AND (:function IS NULL OR function = :function)
    AND (:state IS NULL OR state = :state)
    AND (:before IS NULL OR seq < (SELECT seq FROM batches WHERE id = :before))
ORDER BY seq DESC LIMIT :limit

-- name: open_batches
SELECT spec_json, state, created_at_s, updated_at_s, started_at_s, ended_at_s, revision, problem_json, rows_total,
    is_published
FROM batches WHERE state IN ('queued', 'running') ORDER BY seq

-- name: ended_batches
SELECT id FROM batches WHERE ended_at_s < :before_s AND state IN ('succeeded', 'canceled', 'failed')

-- name: inputs_needed
SELECT each.value FROM batches, json_each(batches.spec_json, '$.input') AS each
WHERE state IN ('queued', 'running', 'paused')

-- name: save_batch
UPDATE batches SET
    state = :state, updated_at_s = :updated_at_s, started_at_s = :started_at_s, ended_at_s = :ended_at_s,
    revision = :revision, rows_total = :rows_total, is_published = :is_published, spec_json = :spec_json,
    problem_json = :problem_json
WHERE id = :id AND state = :was

-- name: add_chunk
INSERT INTO batch_chunks (batch_id, number, rows, failed, part_json, errors_json)
VALUES (:batch_id, :number, :rows, :failed, :part_json, :errors_json)

-- name: chunks
SELECT batch_id, number, rows, failed, part_json, errors_json FROM batch_chunks
WHERE batch_id = :batch_id ORDER BY number

-- name: counts
SELECT COALESCE(SUM(rows), 0), COALESCE(SUM(failed), 0), COUNT(*) FROM batch_chunks WHERE batch_id = :batch_id
