-- Schedules, and what became of each of their ticks.
-- Arguments: none. Result: version 3 of the file of durable work.

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    -- 'deploy': it came with its function, and goes with it. 'api': made by itself.
    origin TEXT NOT NULL,
    function TEXT NOT NULL,
    schedule_json TEXT NOT NULL,
    target_json TEXT NOT NULL,
    webhook_ids_json TEXT NOT NULL,
    is_paused INTEGER NOT NULL DEFAULT 0,
    -- Every tick up to here has been decided.
    cursor_s REAL NOT NULL,
    created_s REAL NOT NULL,
    updated_s REAL NOT NULL,
    UNIQUE (namespace, name)
);

CREATE INDEX schedules_by_function ON schedules (namespace, function);

CREATE TABLE schedule_runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    schedule TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    tick_s REAL NOT NULL,
    -- Of ticks that were skipped in a row: the last one, and how many.
    last_s REAL NOT NULL,
    count INTEGER NOT NULL DEFAULT 1,
    -- 'tick', 'manual' or 'backfill'; a tick is run at most once, by hand as often as asked.
    kind TEXT NOT NULL,
    -- NULL for what may be there twice: ticks that did not run, and runs by hand.
    once_key TEXT,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    decided_s REAL NOT NULL,
    -- The job or batch run that it started.
    work_id TEXT,
    started_s REAL,
    ended_s REAL,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    UNIQUE (schedule, once_key)
);

CREATE INDEX schedule_runs_by_work ON schedule_runs (work_id) WHERE work_id IS NOT NULL;
CREATE INDEX schedule_runs_open ON schedule_runs (schedule, state, seq) WHERE ended_s IS NULL;
CREATE INDEX schedule_runs_newest ON schedule_runs (schedule, seq);
CREATE INDEX schedule_runs_to_cancel ON schedule_runs (seq) WHERE cancel_asked = 1 AND ended_s IS NULL;
