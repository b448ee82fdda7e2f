//! Brings the state up to the stored head when a chain is opened.
//!
//! The database keeps every block but writes the state trie only up to [`LAYERS_MAX`] blocks below
//! the head; the newer layers live in memory and are gone after any restart. So the blocks above
//! the last state on disk are executed again.

use std::sync::Arc;

use ethrex_blockchain::Blockchain;
use ethrex_storage::Store;

use super::error::EmbeddedError;

/// Blocks whose trie layers are held in memory: as many states besides the one on disk can be asked
/// for, and as many blocks are executed again after a restart. The storage crate's own depth, 128,
/// is for chains that may fork; this one cannot.
pub(super) const LAYERS_MAX: usize = 64;

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The head block.
    pub head: u64,
    /// The highest block whose state was on disk; the blocks above it were executed again.
    pub state_on_disk: u64,
}

/// Executes again every block above the last one whose state is on disk.
///
/// # Errors
///
/// [`EmbeddedError::Damaged`] when a block is missing or no state is found,
/// [`EmbeddedError::Block`] when a stored block does not execute.
pub(crate) async fn regenerate_state(store: &Store, chain: &Arc<Blockchain>) -> Result<Recovered, EmbeddedError> {
    let head = store.get_latest_block_number().await?;
    let mut state_on_disk = head;
    loop {
        let header = store.get_block_header(state_on_disk)?.ok_or(EmbeddedError::Damaged { block: state_on_disk })?;
        if store.has_state_root(header.state_root)? {
            break;
        }
        state_on_disk = state_on_disk.checked_sub(1).ok_or(EmbeddedError::Damaged { block: 0 })?;
    }
    for number in state_on_disk + 1..=head {
        let block = store.get_block_by_number(number).await?.ok_or(EmbeddedError::Damaged { block: number })?;
        let chain = Arc::clone(chain);
        tokio::task::spawn_blocking(move || chain.add_block_pipeline_bounded(block, None, LAYERS_MAX))
            .await?
            .map_err(|error| EmbeddedError::Block { block: number, reason: error.to_string() })?;
    }
    Ok(Recovered { head, state_on_disk })
}
