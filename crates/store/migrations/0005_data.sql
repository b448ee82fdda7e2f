-- Data, the rights to it, and the models trained on it.
-- BYTEA columns: hashes have 32 bytes, addresses 20, amounts 16 big-endian. BIGINT columns are never negative.
-- Lists of hashes or addresses are one BYTEA: their bytes, one after the other. Times are Unix milliseconds.

CREATE TABLE handles (
    name TEXT PRIMARY KEY,              -- a contributor's handle, as records name it
    address BYTEA NOT NULL,             -- where it is paid
    key BYTEA NOT NULL UNIQUE           -- the handle's bytes: engines order texts differently
);
CREATE INDEX handles_by_address ON handles (address, key);

CREATE TABLE datanets (
    id BIGINT PRIMARY KEY,              -- id on the chain
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    owner BYTEA NOT NULL,               -- address
    license TEXT NOT NULL,              -- SPDX expression or LicenseRef
    purposes BIGINT NOT NULL,           -- bits
    attribution BIGINT NOT NULL,        -- 0 or 1
    share_alike BIGINT NOT NULL,        -- 0 or 1
    min_royalty_bps BIGINT NOT NULL,
    until BIGINT,                       -- Unix seconds; null for never
    created BIGINT NOT NULL,
    contributions BIGINT NOT NULL,      -- registered ones
    records BIGINT NOT NULL             -- of registered contributions
);

CREATE TABLE datanet_versions (
    datanet BIGINT NOT NULL REFERENCES datanets (id),
    version BIGINT NOT NULL,
    root BYTEA NOT NULL,                -- Merkle root over the contribution leaves
    contributions BYTEA NOT NULL,       -- ids in order of acceptance
    PRIMARY KEY (datanet, version)
);

CREATE TABLE contributions (
    id BYTEA PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,         -- order of acceptance on this node
    datanet BIGINT NOT NULL REFERENCES datanets (id),
    registrant BYTEA NOT NULL,          -- address that signed the registration
    contributors BYTEA NOT NULL,        -- addresses
    root BYTEA NOT NULL,                -- Merkle root over the record leaves
    count BIGINT NOT NULL,              -- number of records
    state TEXT NOT NULL,                -- committed, registered
    payee BYTEA                         -- splitter or single payee, once known
);
CREATE INDEX contributions_by_datanet ON contributions (datanet, seq);
CREATE INDEX contributions_by_state ON contributions (state, seq);
CREATE INDEX contributions_by_registrant ON contributions (registrant);

CREATE TABLE contributors (
    account BYTEA PRIMARY KEY,
    contributions BIGINT NOT NULL       -- registered ones
);

CREATE TABLE records (
    contribution BYTEA NOT NULL REFERENCES contributions (id),
    idx BIGINT NOT NULL,                -- place in the contribution, from 0
    datanet BIGINT NOT NULL,            -- of the contribution
    seq BIGINT NOT NULL,                -- of the contribution, so that the earliest comes first
    record_id TEXT NOT NULL,            -- the contributor's own id
    content_hash BYTEA NOT NULL,        -- of the canonical text
    content_root BYTEA NOT NULL,        -- Merkle root over the text's chunks
    length BIGINT NOT NULL,             -- bytes of the canonical text
    license TEXT NOT NULL,              -- SPDX expression or LicenseRef
    owner_contribution BYTEA,           -- record that owns the near-duplicate cluster, when not this one
    owner_idx BIGINT,
    multiplier BIGINT NOT NULL,         -- derived-record multiplier, in 1/65,535
    PRIMARY KEY (contribution, idx)
);
CREATE INDEX records_by_content ON records (datanet, content_hash);
CREATE INDEX records_by_datanet ON records (datanet, seq, idx);

CREATE TABLE record_bodies (            -- the only place of a record's text
    contribution BYTEA NOT NULL,
    idx BIGINT NOT NULL,
    body BYTEA,                         -- null once erased
    erased BIGINT,                      -- when it was erased
    PRIMARY KEY (contribution, idx),
    FOREIGN KEY (contribution, idx) REFERENCES records (contribution, idx)
);

CREATE TABLE imports (
    id BYTEA PRIMARY KEY,
    datanet BIGINT NOT NULL REFERENCES datanets (id),
    file BYTEA NOT NULL,                -- blob with the file
    lines BIGINT NOT NULL,              -- records in the file
    accepted BIGINT NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE refused_records (
    import BYTEA NOT NULL REFERENCES imports (id),
    line BIGINT NOT NULL,               -- line in its file, from 1
    record_id TEXT,                     -- when the line had one
    reason TEXT NOT NULL,
    PRIMARY KEY (import, line)
);

CREATE TABLE near_duplicates (
    import BYTEA NOT NULL REFERENCES imports (id),
    place BIGINT NOT NULL,              -- from 0, in the order of the file
    record TEXT NOT NULL,               -- the new record's id
    original TEXT NOT NULL,             -- the earlier record's id
    PRIMARY KEY (import, place)
);

CREATE TABLE import_batches (
    import BYTEA NOT NULL REFERENCES imports (id),
    place BIGINT NOT NULL,              -- from 0, in order of first appearance
    contribution BYTEA NOT NULL,
    datanet BIGINT NOT NULL,
    registrant BYTEA NOT NULL,
    contributors BYTEA NOT NULL,        -- addresses
    handles TEXT NOT NULL,              -- the contributors' handles, a JSON list of texts
    root BYTEA NOT NULL,
    count BIGINT NOT NULL,
    terms BYTEA NOT NULL,
    nonce BIGINT NOT NULL,
    digest BYTEA NOT NULL,              -- what the registrant signs
    state TEXT NOT NULL,                -- prepared, committed, registered
    holder BYTEA,                       -- these three once registered
    tx BYTEA,
    block BIGINT,
    PRIMARY KEY (import, place)
);

CREATE TABLE grants (
    hash BYTEA PRIMARY KEY,             -- EIP-712 hash
    datanet BIGINT NOT NULL,
    version BIGINT NOT NULL,
    grantee BYTEA NOT NULL,
    purposes BIGINT NOT NULL,           -- bits
    until BIGINT NOT NULL,              -- Unix time as signed
    signature BYTEA NOT NULL
);
CREATE INDEX grants_by_datanet ON grants (datanet, grantee);

CREATE TABLE models (
    id BIGINT PRIMARY KEY,              -- id on the chain
    name TEXT NOT NULL UNIQUE,
    base BYTEA NOT NULL,                -- hash of the base model
    adapter BYTEA,                      -- hash of the adapter, null for a base served as it is
    manifest BYTEA NOT NULL,            -- blob
    artifact BYTEA,                     -- blob with the list of the model's files
    per_1k_in BYTEA NOT NULL,           -- amount for a thousand tokens of the prompt
    per_1k_out BYTEA NOT NULL,          -- amount for a thousand tokens of the answer
    royalty_flat BYTEA NOT NULL,        -- amount for every answer
    platform_bps BIGINT NOT NULL,
    model_bps BIGINT NOT NULL,
    stakers_bps BIGINT NOT NULL,
    stake_vault BYTEA,                  -- address
    state TEXT NOT NULL                 -- draft, published, retired
);
