-- What was sent to the chain and what it said. Everything here but the outbox can be rebuilt from the chain.

CREATE TABLE outbox (
    key TEXT PRIMARY KEY,               -- what the transaction is for; the same key is never signed twice
    sender BYTEA NOT NULL,
    nonce BIGINT NOT NULL,
    raw BYTEA NOT NULL,                 -- signed transaction
    tx_hash BYTEA NOT NULL,
    state TEXT NOT NULL,                -- signed, mined, failed
    block BIGINT,                       -- this and gas once mined
    gas BIGINT,
    UNIQUE (sender, nonce)
);
CREATE INDEX outbox_by_state ON outbox (state, sender, nonce);

CREATE TABLE chain_blocks (
    number BIGINT PRIMARY KEY,          -- last block of a range that was read; the highest is the indexer's cursor
    hash BYTEA NOT NULL
);

CREATE TABLE chain_events (
    block BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    block_hash BYTEA NOT NULL,
    tx_hash BYTEA NOT NULL,
    address BYTEA NOT NULL,
    topic0 BYTEA,                       -- null for a log without topics
    topics BYTEA NOT NULL,              -- all topics
    data BYTEA NOT NULL,
    PRIMARY KEY (block, log_index)
);
CREATE INDEX chain_events_by_topic ON chain_events (address, topic0, block, log_index);

CREATE TABLE transfers (
    block BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    contract BYTEA NOT NULL,
    token BYTEA NOT NULL,               -- token id as 32 bytes
    sender BYTEA NOT NULL,              -- zero when minted
    recipient BYTEA NOT NULL,
    PRIMARY KEY (block, log_index)
);
CREATE INDEX transfers_by_token ON transfers (contract, token, block, log_index);
CREATE INDEX transfers_by_recipient ON transfers (contract, recipient);

CREATE TABLE chain_amounts (            -- amounts that events moved, so that a rollback can take them back
    block BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    sum TEXT NOT NULL,                  -- which sum it belongs to
    account BYTEA NOT NULL,
    amount BYTEA NOT NULL,
    PRIMARY KEY (block, log_index, sum)
);

CREATE TABLE chain_sums (
    sum TEXT NOT NULL,
    account BYTEA NOT NULL,
    amount BYTEA NOT NULL,
    PRIMARY KEY (sum, account)
);

CREATE TABLE chain_totals (
    sum TEXT PRIMARY KEY,
    amount BYTEA NOT NULL               -- over all accounts
);
