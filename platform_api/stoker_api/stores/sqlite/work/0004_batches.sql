-- Batch runs, and the parts of their outputs that are on disk for good.
-- Arguments: none. Result: the next version of the file of durable work.

CREATE TABLE batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    function TEXT NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at_s REAL NOT NULL,
    updated_at_s REAL NOT NULL,
    started_at_s REAL,
    ended_at_s REAL,
    revision INTEGER,
    rows_total INTEGER,
    is_published INTEGER NOT NULL DEFAULT 0,
    spec_json TEXT NOT NULL,
    problem_json TEXT
);

CREATE INDEX batches_by_state ON batches (state, seq);
CREATE INDEX batches_by_function ON batches (namespace, function, seq);

CREATE TABLE batch_chunks (
    batch_id TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    part_json TEXT,
    errors_json TEXT,
    PRIMARY KEY (batch_id, number)
) WITHOUT ROWID;
