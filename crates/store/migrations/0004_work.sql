-- Work to do once: counters, idempotent requests, jobs.

CREATE TABLE kv (
    key TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE sequences (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL               -- last number given out
);

CREATE TABLE idempotency (
    scope TEXT NOT NULL,                -- account and route
    key TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    began BIGINT NOT NULL,
    held_until BIGINT NOT NULL,         -- when another request may take over one that never ended
    status BIGINT,                      -- null while it runs
    response BYTEA,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_by_time ON idempotency (began);

CREATE TABLE jobs (
    id BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    state TEXT NOT NULL,                -- queued, running, done, failed
    attempts BIGINT NOT NULL,           -- begun so far
    max_attempts BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,        -- 0 unless running
    fence BIGINT NOT NULL,              -- grows with every claim
    worker TEXT,                        -- who holds it, for people
    result_json TEXT                    -- the result, or why it failed
);
CREATE INDEX jobs_by_state ON jobs (state, id);
