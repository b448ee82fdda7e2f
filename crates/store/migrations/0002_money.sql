-- Money in (channels), what it was for (receipts and their entries), money out (epochs, payouts, claims).

CREATE TABLE channels (
    id BYTEA PRIMARY KEY,
    payer BYTEA NOT NULL,
    payee BYTEA NOT NULL,               -- the node
    deposited BYTEA NOT NULL,           -- amount, all deposits so far
    spent BYTEA NOT NULL,               -- amount, cumulative
    nonce BIGINT NOT NULL,              -- receipts so far
    state TEXT NOT NULL                 -- open, closing, closed
);
CREATE INDEX channels_by_payer ON channels (payer);

CREATE TABLE receipts (
    id BYTEA PRIMARY KEY,
    channel BYTEA NOT NULL REFERENCES channels (id),
    nonce BIGINT NOT NULL,
    epoch BIGINT,                       -- null while its epoch is open
    price BYTEA NOT NULL,               -- amount
    time BIGINT NOT NULL,
    body TEXT NOT NULL,                 -- the bundle as signed and shown, kept to the byte
    UNIQUE (channel, nonce)
);
CREATE INDEX receipts_by_epoch ON receipts (epoch, id);

CREATE TABLE entries (
    receipt BYTEA NOT NULL REFERENCES receipts (id),
    line BIGINT NOT NULL,
    role TEXT NOT NULL,
    account BYTEA NOT NULL,
    contribution BYTEA,                 -- null for lines that no contribution earned
    amount BYTEA NOT NULL,
    PRIMARY KEY (receipt, line)
);
CREATE INDEX entries_by_account ON entries (account);

CREATE TABLE epochs (
    number BIGINT PRIMARY KEY,
    state TEXT NOT NULL,                -- open, closed, proposed, finalized
    receipts_root BYTEA NOT NULL,
    entries_root BYTEA NOT NULL,
    payout_root BYTEA NOT NULL,
    total BYTEA NOT NULL,               -- amount, cumulative
    header_json TEXT NOT NULL
);

CREATE TABLE payouts (
    epoch BIGINT NOT NULL REFERENCES epochs (number),
    account BYTEA NOT NULL,
    cumulative BYTEA NOT NULL,          -- amount since genesis
    PRIMARY KEY (epoch, account)
);
CREATE INDEX payouts_by_account ON payouts (account, epoch);

CREATE TABLE claims (
    tx_hash BYTEA NOT NULL,
    account BYTEA NOT NULL,
    cumulative BYTEA NOT NULL,          -- amount claimed up to
    state TEXT NOT NULL,                -- sent, paid, failed
    PRIMARY KEY (tx_hash, account)
);
CREATE INDEX claims_by_account ON claims (account);
