-- Jobs, their events, and who runs them.
-- Arguments: none. Result: version 1 of the file of durable work.

-- One row for each function and priority that ever had a job: what the runner goes round.
CREATE TABLE job_lanes (
    lane INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    function TEXT NOT NULL,
    priority INTEGER NOT NULL,
    UNIQUE (namespace, function, priority)
);

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    lane INTEGER NOT NULL REFERENCES job_lanes (lane),
    namespace TEXT NOT NULL,
    function TEXT NOT NULL,
    ref TEXT,
    method TEXT NOT NULL,
    priority INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    accept TEXT NOT NULL,
    body BLOB NOT NULL,
    body_blob TEXT,
    digest TEXT NOT NULL,
    idempotency_key TEXT,
    source TEXT NOT NULL,
    webhook_ids_json TEXT NOT NULL,
    max_age_s REAL NOT NULL,
    max_attempts INTEGER,
    timeout_s REAL,
    state TEXT NOT NULL,
    created_s REAL NOT NULL,
    not_before_s REAL NOT NULL,
    expires_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    delays INTEGER NOT NULL DEFAULT 0,
    runner TEXT,
    run INTEGER NOT NULL DEFAULT 0,
    started_s REAL,
    finished_s REAL,
    result BLOB,
    result_blob TEXT,
    result_bytes INTEGER NOT NULL DEFAULT 0,
    result_type TEXT NOT NULL DEFAULT '',
    result_status INTEGER NOT NULL DEFAULT 0,
    problem_json TEXT,
    receipt_json TEXT,
    progress REAL,
    progress_message TEXT NOT NULL DEFAULT '',
    last_event INTEGER NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX jobs_by_key ON jobs (namespace, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (lane, not_before_s, seq) WHERE state = 'queued';
CREATE INDEX jobs_expiring ON jobs (expires_s) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (runner) WHERE runner IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_s) WHERE finished_s IS NOT NULL;
CREATE INDEX jobs_by_function ON jobs (namespace, function, seq);
CREATE INDEX jobs_open ON jobs (namespace, function, state) WHERE state IN ('queued', 'starting', 'running');
CREATE INDEX jobs_by_state ON jobs (state, seq);

CREATE TABLE job_events (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at_s REAL NOT NULL,
    kind TEXT NOT NULL,
    data_json TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

-- A runner's lease: whoever is silent past lease_until_s is taken for dead, and its jobs go to another.
CREATE TABLE job_runners (
    runner TEXT PRIMARY KEY,
    lease_until_s REAL NOT NULL
);
