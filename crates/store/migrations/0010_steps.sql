-- Steps on chain whose transactions reverted: which one is tried next, and from when on.

CREATE TABLE failed_steps (
    name TEXT PRIMARY KEY,              -- what the step is for; the outbox keys of its transactions begin with it
    failures BIGINT NOT NULL,           -- transactions of it that reverted
    retry_at BIGINT NOT NULL,           -- not sent again before
    reason TEXT NOT NULL                -- why the last one reverted
);
