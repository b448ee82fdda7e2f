-- Versions of datanets as they were planned, so that one on chain is found after a crash.

CREATE TABLE planned_versions (
    datanet BIGINT NOT NULL REFERENCES datanets (id),
    version BIGINT NOT NULL,
    root BYTEA NOT NULL,                -- Merkle root over the contribution leaves
    contributions BYTEA NOT NULL,       -- ids in order of acceptance
    PRIMARY KEY (datanet, version, root)
);

DROP INDEX channels_by_payer;           -- no statement looked for channels by their payer
