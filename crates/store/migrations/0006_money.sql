-- Money in (channels), what it was for (receipts and their entries), money out (epochs, payouts, claims).
-- Receipts' times and cutoffs are Unix seconds, as signed; all other times are Unix milliseconds.

CREATE TABLE channels (
    id BYTEA PRIMARY KEY,
    payer BYTEA NOT NULL,
    payee BYTEA NOT NULL,               -- the node
    deposited BYTEA NOT NULL,           -- amount, all deposits so far
    spent BYTEA NOT NULL,               -- amount, cumulative
    reserved BYTEA NOT NULL,            -- amount, the sum of the held reservations
    nonce BIGINT NOT NULL,              -- receipts so far
    time BIGINT NOT NULL,               -- of the last receipt; 0 before the first
    reservations BIGINT NOT NULL,       -- reservations so far
    state TEXT NOT NULL                 -- open, closing, closed
);
CREATE INDEX channels_by_payer ON channels (payer);

CREATE TABLE channel_configs (
    channel BYTEA PRIMARY KEY REFERENCES channels (id),
    payer BYTEA NOT NULL,
    authorizer BYTEA NOT NULL,
    node BYTEA NOT NULL,
    withdraw_delay BIGINT NOT NULL,     -- seconds
    salt BYTEA NOT NULL
);

CREATE TABLE reservations (
    channel BYTEA NOT NULL REFERENCES channels (id),
    number BIGINT NOT NULL,             -- in the channel, from 1
    amount BYTEA NOT NULL,
    holder TEXT NOT NULL,               -- the node instance that made it
    lease_until BIGINT NOT NULL,        -- when others may release it
    key TEXT,                           -- of the request it is for
    state TEXT NOT NULL,                -- held, charged, released
    charged BYTEA,                      -- amount, once charged
    PRIMARY KEY (channel, number)
);
CREATE INDEX reservations_held ON reservations (lease_until) WHERE state = 'held';

CREATE TABLE api_keys (
    hash BYTEA PRIMARY KEY,             -- SHA-256 of the key; the key itself is not kept
    kind TEXT NOT NULL,                 -- operator, account, channel, agent
    principal TEXT NOT NULL,            -- who acts by it
    channel BYTEA REFERENCES channels (id),
    scopes TEXT NOT NULL,               -- words separated by spaces
    created BIGINT NOT NULL,
    revoked BIGINT,
    last_used BIGINT
);
CREATE INDEX api_keys_by_principal ON api_keys (principal, created);

CREATE TABLE epochs (
    number BIGINT PRIMARY KEY,
    state TEXT NOT NULL,                -- open, closing, closed, proposed, finalized
    node BYTEA NOT NULL,                -- the operator whose epoch it is
    after_time BIGINT NOT NULL,         -- cutoff of the epoch before; receipts are later
    cutoff BIGINT,                      -- time of its last receipt, once it is closing
    attempt BIGINT NOT NULL,            -- proposals that were rejected
    closes_at BIGINT,                   -- end of its window, Unix seconds, once proposed
    receipt_count BIGINT,               -- this and the columns below once it is closed
    receipts_root BYTEA,
    receipts_total BYTEA,
    entries_root BYTEA,
    entries_total BYTEA,
    payout_root BYTEA,
    total BYTEA,
    params BYTEA                        -- hash of the governed parameters
);
CREATE UNIQUE INDEX epochs_one_open ON epochs (state) WHERE state = 'open';

CREATE TABLE receipts (
    id BYTEA PRIMARY KEY,
    channel BYTEA NOT NULL REFERENCES channels (id),
    payer BYTEA NOT NULL,
    model BIGINT NOT NULL,
    nonce BIGINT NOT NULL,              -- in the channel, from 1
    epoch BIGINT NOT NULL REFERENCES epochs (number),
    price BYTEA NOT NULL,               -- amount
    time BIGINT NOT NULL,
    tokens_in BIGINT NOT NULL,
    tokens_out BIGINT NOT NULL,
    place BIGINT,                       -- of its leaf in the epoch's tree, once that is closed
    UNIQUE (channel, nonce)
);
CREATE INDEX receipts_by_epoch ON receipts (epoch, id);
CREATE INDEX receipts_by_time ON receipts (time, id);
CREATE INDEX receipts_by_epoch_time ON receipts (epoch, time, id);
CREATE INDEX receipts_by_channel ON receipts (channel, time, id);
CREATE INDEX receipts_by_payer ON receipts (payer, time, id);
CREATE INDEX receipts_by_model ON receipts (model, time, id);

CREATE TABLE receipt_bodies (
    receipt BYTEA PRIMARY KEY REFERENCES receipts (id),
    body TEXT NOT NULL                  -- the bundle as signed and shown, kept to the byte
);

CREATE TABLE credit_notes (
    receipt BYTEA PRIMARY KEY REFERENCES receipts (id),
    time BIGINT NOT NULL,
    body TEXT NOT NULL                  -- the signed note, kept to the byte
);

CREATE TABLE entries (
    receipt BYTEA NOT NULL REFERENCES receipts (id),
    line BIGINT NOT NULL,
    epoch BIGINT NOT NULL,              -- of the receipt
    role TEXT NOT NULL,
    account BYTEA NOT NULL,
    contribution BYTEA,                 -- null for lines that no contribution earned
    amount BYTEA NOT NULL,
    place BIGINT,                       -- of its leaf in the epoch's tree, once that is closed
    PRIMARY KEY (receipt, line)
);
CREATE INDEX entries_by_epoch ON entries (epoch, account, receipt, line);

CREATE TABLE payouts (
    epoch BIGINT NOT NULL REFERENCES epochs (number),
    account BYTEA NOT NULL,
    cumulative BYTEA NOT NULL,          -- amount since genesis
    place BIGINT NOT NULL,              -- of its leaf in the epoch's tree
    PRIMARY KEY (epoch, account)
);
CREATE INDEX payouts_by_amount ON payouts (epoch, cumulative);

CREATE TABLE claims (
    tx_hash BYTEA NOT NULL,
    account BYTEA NOT NULL,
    cumulative BYTEA NOT NULL,          -- amount claimed up to
    state TEXT NOT NULL,                -- sent, paid, failed
    PRIMARY KEY (tx_hash, account)
);
CREATE INDEX claims_by_account ON claims (account);

CREATE TABLE trees (
    epoch BIGINT NOT NULL REFERENCES epochs (number),
    tree TEXT NOT NULL,                 -- receipts, entries, payouts
    leaves BIGINT NOT NULL,
    PRIMARY KEY (epoch, tree)
);

CREATE TABLE tree_chunks (
    epoch BIGINT NOT NULL REFERENCES epochs (number),
    tree TEXT NOT NULL,
    level BIGINT NOT NULL,              -- 0 for the leaves
    chunk BIGINT NOT NULL,              -- 128 nodes each, from 0
    nodes BYTEA NOT NULL,               -- 48 bytes a node: hash, then sum
    PRIMARY KEY (epoch, tree, level, chunk)
);

CREATE TABLE counters (
    name TEXT NOT NULL,
    shard BIGINT NOT NULL,              -- a counter is the sum of its shards
    value BYTEA NOT NULL,               -- 16 bytes big-endian
    PRIMARY KEY (name, shard)
);

CREATE TABLE audit_marks (
    id BIGINT PRIMARY KEY,              -- 1: there is one row
    epoch BIGINT NOT NULL,              -- last epoch that was audited
    total BYTEA NOT NULL,               -- its total
    payout_root BYTEA NOT NULL,         -- its payout root
    block BIGINT NOT NULL,              -- next block to be audited
    burned BYTEA NOT NULL               -- amount burned before it
);

CREATE TABLE audit_accounts (
    address BYTEA PRIMARY KEY           -- an account that appeared in the audited blocks
);
