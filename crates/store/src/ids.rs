//! The ids, hashes and amounts that rows are made of: `protocol`'s types, and how each lies in a column.
//!
//! Ids of the chain are integers, hashes and addresses bytes, amounts 16 big-endian bytes.

pub use openledger_protocol::{
    AdapterHash, Address, Amount, B256, BaseHash, BlobHash, ChannelId, ContributionId, DatanetId, ModelId, ReceiptId,
    RecordRef,
};

/// The EIP-712 hash of a grant.
pub type GrantHash = B256;
