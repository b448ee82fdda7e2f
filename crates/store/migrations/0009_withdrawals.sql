-- Channels that are opened again after a withdrawal.

ALTER TABLE channels ADD COLUMN checked_at BIGINT NOT NULL DEFAULT 0;  -- block as of which it was opened last
ALTER TABLE channels ADD COLUMN asked_at BIGINT NOT NULL DEFAULT 0;    -- block of the last withdrawal request noted
