//! What can go wrong with the embedded chain itself, as opposed to with a request made to it.

use std::path::PathBuf;

/// Why the embedded chain could not be opened, could not make a block or could not be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The seeded accounts hold more than exists; lower their amounts.
    #[error("the genesis accounts hold more than the supply of 10^27 base units; lower their amounts")]
    TooMuchSeeded,
    /// An account stands twice among the seeded ones, or is the treasury; name each account once.
    #[error("account {account} stands more than once at genesis; name each account once")]
    SeededTwice {
        /// The account.
        account: alloy_primitives::Address,
    },
    /// The genesis block could not be built from the configuration; a defect of this crate.
    #[error("the genesis could not be built: {0}")]
    Genesis(#[from] serde_json::Error),
    /// The directory holds a chain with another genesis (chain id, seeded accounts or clock): use
    /// the configuration it was made with, or another directory.
    #[error("{dir} holds a chain with another genesis; open it as it was created, or choose another directory")]
    OtherGenesis {
        /// The directory.
        dir: PathBuf,
    },
    /// The database could not be opened, most often because another process holds it; stop that
    /// process.
    #[error("the chain in {dir} could not be opened (is another process using it?): {source}")]
    Open {
        /// The directory.
        dir: PathBuf,
        /// What the database said.
        #[source]
        source: ethrex_storage::error::StoreError,
    },
    /// A newer RocksDB wrote the directory, and an older one cannot read it: build with
    /// `ROCKSDB_COMPILE=1`, as the program that wrote it was, or choose another directory.
    #[error(
        "RocksDB {written_by} wrote the chain in {dir}, and this program has {ours}, which cannot read it; \
         build it with ROCKSDB_COMPILE=1, or choose another directory"
    )]
    NewerDatabase {
        /// The directory.
        dir: PathBuf,
        /// Version of the RocksDB that wrote it.
        written_by: String,
        /// Major and minor version of the RocksDB in this program.
        ours: &'static str,
    },
    /// The database failed while the chain was running; check the disk, then restart.
    #[error("the chain's database failed: {0}")]
    Storage(#[from] ethrex_storage::error::StoreError),
    /// Blocks above the last state on disk could not be executed again, so the directory is
    /// damaged: restore a backup.
    #[error("block {block} is missing or has no state below it; restore the chain's directory from a backup")]
    Damaged {
        /// The block that was looked for.
        block: u64,
    },
    /// A block could not be built or executed; the pending transactions stay pending and are tried
    /// again.
    #[error("block {block} could not be made: {reason}")]
    Block {
        /// Number of the block.
        block: u64,
        /// What the execution said.
        reason: String,
    },
    /// The node identity that the RPC context wants could not be made; a defect of this crate.
    #[error("the RPC context could not be made: {0}")]
    Context(String),
    /// A task of the chain ended by a panic; restart the process.
    #[error("a task of the chain ended abnormally: {0}")]
    Task(#[from] tokio::task::JoinError),
}
