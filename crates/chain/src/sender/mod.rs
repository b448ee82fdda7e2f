//! Sends transactions so that each happens once.
//!
//! # Place in the flow
//!
//! Every write of the product to a chain goes through [`Sender::send`], under a key that names what
//! it does (`epoch/7/propose`). `flow` builds the calls; `node` keeps the [`Outbox`] in its
//! database.
//!
//! # Invariants
//!
//! - **One transaction for each key.** The signed bytes are durable before the first broadcast:
//!   after a crash they are sent again, or their receipt is found. A stuck one is offered again for
//!   more (`line`), as the same call with the same nonce, so that at most one of the two is ever
//!   mined; its bytes follow from those written down, so nothing else has to be remembered, and its
//!   receipt is found after a crash too.
//! - **No gaps.** Nonces are given out one by one, from the chain and the outbox together. The
//!   outbox takes each nonce once: of two processes that sign for one account at the same moment,
//!   one writes its transaction down and the other chooses again. Each caller that waits for a
//!   block sends what stands before its own transaction, whichever process signed it.
//! - **Same bytes.** Fees come from [`FeePolicy`], not from the network's mood, and signatures are
//!   deterministic: as long as the first fee is enough, runs repeat bit for bit.
//! - **Bounded.** At most [`IN_FLIGHT_MAX`] transactions of the account wait for a block; more
//!   callers wait their turn.

mod error;
mod first;
mod line;
mod outbox;
mod transaction;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256};
use openledger_protocol::Key;
use tokio::sync::Mutex;

use crate::contracts::Revert;
use crate::rpc::{CallRequest, Client, Log, RpcError, TransactionReceipt};

use self::first::Line;

pub use self::error::SendError;
pub use self::outbox::{MemoryOutbox, Outbox, OutboxEntry, OutboxError, OutboxFuture, SignedTransaction};
pub use self::transaction::FeePolicy;

/// How long one [`Sender::send`] waits for a block.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Transactions of one account that may wait for a block at a time; pools take 64 at most.
pub const IN_FLIGHT_MAX: u64 = 48;
/// How long a waiting transaction is left alone before it is looked for, sent again, or offered for
/// more.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// A transaction that stands in a block and succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mined {
    /// The transaction.
    pub hash: B256,
    /// Its block's number.
    pub block: u64,
    /// Its block's hash.
    pub block_hash: B256,
    /// Gas paid for.
    pub gas_used: u64,
    /// The events it emitted, in order.
    pub logs: Vec<Log>,
}

/// Sends transactions of one account.
pub struct Sender {
    client: Client,
    outbox: Arc<dyn Outbox>,
    key: Key,
    chain_id: u64,
    fees: FeePolicy,
    wait: Duration,
    patience: Duration,
    /// Held from choosing a nonce until the bytes are with the network, so that nonces of this
    /// process arrive in order.
    turn: Mutex<()>,
    /// Held by whoever looks after the transactions that wait.
    line: Mutex<Line>,
}

impl Sender {
    /// A sender of `key`'s account. Broadcasts again what an earlier process left without a
    /// receipt.
    ///
    /// # Errors
    ///
    /// [`SendError::Rpc`] and [`SendError::Outbox`]; what the network does not take again is left
    /// for [`Sender::send`] to report under its key.
    pub async fn new(client: Client, outbox: Arc<dyn Outbox>, key: Key, fees: FeePolicy) -> Result<Self, SendError> {
        let chain_id = client.chain_id().await?;
        let sender = Self {
            client,
            outbox,
            key,
            chain_id,
            fees,
            wait: WAIT_MAX,
            patience: PATIENCE,
            turn: Mutex::new(()),
            line: Mutex::default(),
        };
        for left in sender.outbox.unmined(sender.address()).await? {
            match sender.client.send_raw(&left.raw).await {
                Ok(_) => {}
                Err(error) if error.is_transient() => return Err(error.into()),
                Err(error) => tracing::warn!(key = left.key, %error, "a transaction from before was not taken again"),
            }
        }
        Ok(sender)
    }

    /// The same sender, waiting at most `wait` for a block in each [`Sender::send`].
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The same sender, looking after what waits every `patience`.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The account that sends.
    #[must_use]
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The network that is sent to.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// EIP-155 chain id of the network.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Calls `to` with `data`, sending `value` base units along, and waits for the block.
    ///
    /// `key` names the effect: calling again with it never sends a second transaction, whatever the
    /// other arguments are then; it gives the same result, from the chain.
    ///
    /// # Errors
    ///
    /// [`SendError`]; its variants say whether the key is used up.
    pub async fn send(&self, key: &str, to: Address, data: Bytes, value: U256) -> Result<Mined, SendError> {
        self.send_within(key, to, data, value, None).await
    }

    /// As [`Sender::send`], with a gas limit of the caller's instead of an estimate.
    ///
    /// For calls that the state after the newest block still refuses and the next block will take.
    /// What the contract refuses costs gas then.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`], but for [`SendError::Refused`].
    pub async fn send_with_gas(&self, key: &str, to: Address, data: Bytes, gas_limit: u64) -> Result<Mined, SendError> {
        self.send_within(key, to, data, U256::ZERO, Some(gas_limit)).await
    }

    async fn send_within(
        &self,
        key: &str,
        to: Address,
        data: Bytes,
        value: U256,
        gas_limit: Option<u64>,
    ) -> Result<Mined, SendError> {
        let transaction = match self.outbox.get(key).await? {
            Some(entry) => {
                if let Some(receipt) = self.receipt_of(&entry.transaction).await? {
                    return self.conclude(&entry.transaction, receipt).await;
                }
                self.broadcast(&entry.transaction).await?;
                entry.transaction
            }
            None => self.sign_and_broadcast(key, to, data, value, gas_limit).await?,
        };
        self.wait_for_block(&transaction).await
    }

    /// Chooses the nonce, signs, writes down, broadcasts.
    async fn sign_and_broadcast(
        &self,
        key: &str,
        to: Address,
        data: Bytes,
        value: U256,
        gas_limit: Option<u64>,
    ) -> Result<SignedTransaction, SendError> {
        let _turn = self.turn.lock().await;
        // Two callers with the same key may have come here together; the second finds what the
        // first wrote.
        if let Some(entry) = self.outbox.get(key).await? {
            return Ok(entry.transaction);
        }
        let sender = self.address();
        let gas_limit = match gas_limit {
            Some(limit) => limit,
            None => {
                let call = CallRequest { from: Some(sender), to, value, data: data.clone() };
                let estimate = self.client.estimate_gas(&call).await;
                match estimate.map_err(|error| (Revert::of(&error), error)) {
                    Ok(estimate) => transaction::gas_limit(estimate),
                    // The call may be refused because another process has just made it.
                    Err((revert, error)) => match (self.outbox.get(key).await?, revert) {
                        (Some(entry), _) => return Ok(entry.transaction),
                        (None, Some(revert)) => {
                            return Err(SendError::Refused { key: key.to_owned(), revert: Box::new(revert) });
                        }
                        (None, None) => return Err(error.into()),
                    },
                }
            }
        };
        loop {
            let nonce = self.next_nonce(key).await?;
            let draft = transaction::Draft { chain_id: self.chain_id, nonce, gas_limit, to, value, data: data.clone() };
            let (raw, hash) = transaction::sign(draft, self.fees, &self.key);
            let signed = SignedTransaction { key: key.to_owned(), sender, nonce, raw, hash };
            if self.outbox.put_signed(signed.clone()).await? {
                self.broadcast(&signed).await?;
                return Ok(signed);
            }
            // Another process of the account was quicker: it took the nonce, or did this very
            // thing.
            if let Some(entry) = self.outbox.get(key).await? {
                return Ok(entry.transaction);
            }
        }
    }

    /// The next nonce, once few enough transactions of the account wait for a block.
    async fn next_nonce(&self, key: &str) -> Result<u64, SendError> {
        let sender = self.address();
        let started = Instant::now();
        loop {
            let head = self.client.block_number().await?;
            let mined = self.client.nonce(sender).await?;
            let next = mined.max(self.outbox.next_nonce(sender).await?);
            let waiting = next - mined;
            if waiting < IN_FLIGHT_MAX {
                return Ok(next);
            }
            if started.elapsed() >= self.wait {
                return Err(SendError::Crowded { key: key.to_owned(), waiting });
            }
            self.look_after().await?;
            self.client.rpc().next_block(head).await;
        }
    }

    /// Hands the bytes to the network; that it has them already, or a dearer form of them, is as
    /// good.
    async fn broadcast(&self, signed: &SignedTransaction) -> Result<(), SendError> {
        match self.client.send_raw(&signed.raw).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_transient() => Err(error.into()),
            Err(error) => {
                // Networks word "I know it already" and "it is mined already" in many ways, so ask
                // instead of reading.
                if self.client.knows(signed.hash).await? || self.offer_for_more(signed).await? {
                    return Ok(());
                }
                if self.receipt_of(signed).await?.is_some() {
                    return Ok(());
                }
                Err(SendError::NotTaken { key: signed.key.clone(), source: error })
            }
        }
    }

    async fn wait_for_block(&self, signed: &SignedTransaction) -> Result<Mined, SendError> {
        let started = Instant::now();
        let mut looked = started;
        loop {
            // The head is read before the receipt, so that a block between the two ends the waiting
            // at once.
            let head = self.client.block_number().await?;
            if let Some(receipt) = self.client.receipt(signed.hash).await? {
                return self.conclude(signed, receipt).await;
            }
            if started.elapsed() >= self.wait {
                let waited_s = started.elapsed().as_secs();
                return Err(SendError::NotMined { key: signed.key.clone(), hash: signed.hash, waited_s });
            }
            if looked.elapsed() >= self.patience {
                looked = Instant::now();
                if let Some(receipt) = self.receipt_of(signed).await? {
                    return self.conclude(signed, receipt).await;
                }
                self.look_after().await?;
            }
            self.client.rpc().next_block(head).await;
        }
    }

    /// Notes the receipt and turns it into the result.
    async fn conclude(&self, signed: &SignedTransaction, receipt: TransactionReceipt) -> Result<Mined, SendError> {
        let succeeded = receipt.status == 1;
        self.outbox.mark_mined(&signed.key, receipt.block_number, receipt.gas_used, succeeded).await?;
        if succeeded {
            return Ok(Mined {
                hash: receipt.transaction_hash,
                block: receipt.block_number,
                block_hash: receipt.block_hash,
                gas_used: receipt.gas_used,
                logs: receipt.logs,
            });
        }
        let revert = Box::new(self.why_reverted(signed, receipt.block_number).await?);
        Err(SendError::Reverted { key: signed.key.clone(), hash: signed.hash, block: receipt.block_number, revert })
    }

    /// Executes the call again on the state before its block, because receipts do not carry the
    /// reason.
    async fn why_reverted(&self, signed: &SignedTransaction, block: u64) -> Result<Revert, SendError> {
        let Some(transaction) = transaction::read(&signed.raw) else {
            return Err(SendError::Damaged { key: signed.key.clone(), raw: signed.raw.clone() });
        };
        let to = transaction.to.to().copied().unwrap_or_default();
        let call = CallRequest { from: Some(signed.sender), to, value: transaction.value, data: transaction.input };
        match self.client.call_at(&call, block.saturating_sub(1)).await {
            Err(error @ RpcError::Refused { .. }) => Ok(Revert::of(&error).unwrap_or_default()),
            Err(error) if error.is_transient() => Err(error.into()),
            _ => Ok(Revert::default()),
        }
    }
}
