-- Work to do once: counters, leases, requests with a key, jobs. Times are Unix milliseconds.

CREATE TABLE sequences (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL               -- last number given out
);

CREATE TABLE readiness (
    id BIGINT PRIMARY KEY,              -- 1: there is one row
    checks BIGINT NOT NULL              -- checks so far: each writes
);

CREATE TABLE leases (
    name TEXT PRIMARY KEY,              -- what only one may do at a time
    holder TEXT NOT NULL,               -- node instance
    lease_until BIGINT NOT NULL,        -- 0 once it was given back
    fence BIGINT NOT NULL               -- grows whenever the holder changes
);

CREATE TABLE requests (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,                  -- the client's
    request BYTEA NOT NULL,             -- hash of the request
    holder TEXT NOT NULL,               -- node instance that works on it
    lease_until BIGINT NOT NULL,        -- when another may take it over
    fence BIGINT NOT NULL,              -- grows with every begin
    status BIGINT,                      -- this and the columns below once it is done
    headers TEXT,                       -- JSON list of name and value
    body BYTEA,
    expires BIGINT,                     -- when the answer is forgotten
    PRIMARY KEY (principal, key)
);
CREATE INDEX requests_by_expiry ON requests (expires);

CREATE TABLE jobs (
    id BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT,                           -- two live jobs of a kind never have the same
    work TEXT NOT NULL,                 -- the order, in the kind's own encoding
    state TEXT NOT NULL,                -- queued, running, done, failed, cancelled
    attempts BIGINT NOT NULL,           -- begun so far
    max_attempts BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,        -- 0 unless running
    fence BIGINT NOT NULL,              -- grows with every claim
    worker TEXT,                        -- node instance that holds or held it
    cancel BIGINT NOT NULL,             -- 1 once a person asked to end it
    progress TEXT,                      -- in the kind's own encoding
    outcome TEXT,                       -- in the kind's own encoding, once done
    cause TEXT,                         -- why the last attempt failed
    events BIGINT NOT NULL,             -- events so far
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_by_kind ON jobs (kind, id);
CREATE UNIQUE INDEX jobs_one_per_key ON jobs (kind, key)
    WHERE key IS NOT NULL AND state <> 'failed' AND state <> 'cancelled';

CREATE TABLE job_events (
    job BIGINT NOT NULL REFERENCES jobs (id),
    seq BIGINT NOT NULL,                -- in the job, from 1
    at BIGINT NOT NULL,
    level TEXT NOT NULL,                -- info, warn, error
    kind TEXT NOT NULL,                 -- state, progress, log
    body TEXT NOT NULL,
    PRIMARY KEY (job, seq)
);
