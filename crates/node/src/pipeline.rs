//! The economy, read top to bottom: from a file of records to money at a contributor's account.
//!
//! Each step names the stage that knows how; what a step makes is the next one's input. HTTP handlers, jobs and tests
//! call these and nothing below them.

use alloy_primitives::B256;
use openledger_protocol::{ContributionId, DatanetId, Grant, ModelId, ReceiptBundle, Signature};
use openledger_serving::Answer;
use openledger_store::channels::Channel;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contribute::{Import, RegisteredBatch};
use crate::error::Result;
use crate::models::Offered;
use crate::node::Node;
use crate::settle::{Claimed, Settled};
use crate::train::TrainOrder;
use crate::versions::Published;

/// A file becomes batches: parsed, checked against licence and earlier records (`datanet`), kept, ready to be signed.
///
/// # Errors
/// [`crate::NodeError::Malformed`] when the file is damaged: then nothing of it is kept.
pub async fn contribute(node: &Node, datanet: DatanetId, file: &[u8]) -> Result<Import> {
    node.import(datanet, file).await
}

/// Signed batches become titles on chain (`chain`), each held by its contributor or by a splitter of several.
///
/// # Errors
/// An unsigned or wrongly signed batch: then nothing is sent.
pub async fn register(
    node: &Node,
    import: B256,
    signatures: &BTreeMap<ContributionId, Signature>,
) -> Result<Vec<RegisteredBatch>> {
    node.register(import, signatures).await
}

/// The owner publishes a version: the root over the contributions so far.
///
/// # Errors
/// A signature that is not the owner's.
pub async fn publish(node: &Node, datanet: DatanetId, signature: &Signature) -> Result<Published> {
    node.publish(datanet, signature).await
}

/// The owner grants this node the use of a version; the grant's hash, transaction and block.
///
/// # Errors
/// A signature that is not the owner's, or other terms.
pub async fn grant(node: &Node, grant: &Grant, signature: &Signature) -> Result<(B256, B256, u64)> {
    node.put_grant(grant, signature).await
}

/// An adapter is ordered: the job checks the grants, reads the rows, trains (`factory`) and builds the caches that
/// attribution needs (`attribution`).
///
/// # Errors
/// A recipe, mix or version that cannot be.
pub async fn train(node: &Node, order: &TrainOrder) -> Result<u64> {
    node.order_training(order).await
}

/// The trained adapter is offered under the title its owner registered; tested bytes are the bytes on offer.
///
/// # Errors
/// A title of other weights.
pub async fn offer(node: &Node, id: ModelId, name: &str, job: u64) -> Result<Value> {
    node.offer_model(id, name, job).await
}

/// A generated answer (`serving`) is credited (`attribution`), priced and split (`ledger`), signed and kept.
///
/// # Errors
/// A channel that cannot pay; then nothing is kept and nothing is charged.
pub(crate) async fn receipt(
    node: &Node,
    channel: &Channel,
    offered: &Arc<Offered>,
    request: Value,
    answer: &Answer,
    key: Option<&str>,
) -> Result<ReceiptBundle> {
    let credits = node.credit(offered, &answer.completion).await?;
    node.receipt(channel, offered, request, answer, credits, key).await
}

/// The open epoch is closed (`ledger`), its channels redeemed, its roots proposed, its window waited out, finalized
/// (`chain`).
///
/// # Errors
/// No receipt to settle.
pub async fn settle(node: &Node) -> Result<Settled> {
    node.settle().await
}

/// Earnings are paid out, by anyone for anyone (`chain`); no account named: to everybody.
///
/// # Errors
/// No epoch is finalized yet.
pub async fn claim(node: &Node, accounts: &[openledger_protocol::Address]) -> Result<Vec<Claimed>> {
    node.claim(accounts).await
}
