-- Data, the rights to it, and the models trained on it.
-- BYTEA columns: hashes 32 bytes, addresses 20, amounts 16 big-endian. BIGINT columns are never negative.
-- Columns ending in _json hold JSON text. Times are Unix milliseconds.

CREATE TABLE accounts (
    name TEXT PRIMARY KEY,              -- a contributor's handle, as records name it
    address BYTEA NOT NULL              -- where it is paid
);

CREATE TABLE datanets (
    id BIGINT PRIMARY KEY,              -- id on the chain
    name TEXT NOT NULL UNIQUE,
    owner BYTEA NOT NULL,               -- address
    terms_json TEXT NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE datanet_versions (
    datanet BIGINT NOT NULL REFERENCES datanets (id),
    version BIGINT NOT NULL,
    root BYTEA NOT NULL,                -- Merkle root over the contribution leaves
    contributions_json TEXT NOT NULL,   -- ids in order of acceptance
    PRIMARY KEY (datanet, version)
);

CREATE TABLE contributions (
    id BYTEA PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,         -- order of acceptance on this node
    datanet BIGINT NOT NULL REFERENCES datanets (id),
    registrant BYTEA NOT NULL,          -- address that signed the registration
    contributors_json TEXT NOT NULL,    -- addresses
    root BYTEA NOT NULL,                -- Merkle root over the record leaves
    count BIGINT NOT NULL,              -- number of records
    state TEXT NOT NULL,                -- prepared, committed, registered
    payee BYTEA,                        -- splitter or single payee, once known
    manifest BYTEA                      -- blob with the import's manifest
);
CREATE INDEX contributions_by_datanet ON contributions (datanet, seq);

CREATE TABLE records (
    contribution BYTEA NOT NULL REFERENCES contributions (id),
    idx BIGINT NOT NULL,                -- place in the contribution, from 0
    datanet BIGINT NOT NULL,            -- of the contribution
    seq BIGINT NOT NULL,                -- of the contribution, so that the earliest comes first
    record_id TEXT NOT NULL,            -- the contributor's own id
    content_hash BYTEA NOT NULL,        -- of the canonical text
    content_root BYTEA NOT NULL,        -- Merkle root over the text's chunks
    length BIGINT NOT NULL,             -- bytes of the canonical text
    blob BYTEA NOT NULL,                -- where the body is
    license TEXT NOT NULL,              -- SPDX expression or LicenseRef
    tokens BIGINT,                      -- once counted
    owner_contribution BYTEA,           -- record that owns the near-duplicate cluster, when not this one
    owner_idx BIGINT,
    multiplier BIGINT NOT NULL,         -- derived-record multiplier in basis points
    PRIMARY KEY (contribution, idx)
);
CREATE INDEX records_by_content ON records (datanet, content_hash);
CREATE INDEX records_by_datanet ON records (datanet, seq, idx);

CREATE TABLE refused_records (
    import BYTEA NOT NULL,              -- id of the import
    line BIGINT NOT NULL,               -- line in its file, from 1
    record_id TEXT,                     -- when the line had one
    reason TEXT NOT NULL,
    PRIMARY KEY (import, line)
);

CREATE TABLE imports (
    file_hash BYTEA NOT NULL,           -- SHA-256 of the file
    datanet BIGINT NOT NULL,
    key TEXT NOT NULL,                  -- whatever else the result hangs on (registrant, options)
    result_json TEXT NOT NULL,
    PRIMARY KEY (file_hash, datanet, key)
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
    price_json TEXT NOT NULL,
    state TEXT NOT NULL                 -- draft, published, retired
);
CREATE INDEX models_by_adapter ON models (adapter);
