//! The outbox of `chain` over the store.

use alloy_primitives::{Address, Bytes};
use openledger_chain::sender::{Outbox, OutboxEntry, OutboxError, OutboxFuture, SignedTransaction};
use openledger_store::outbox::OutboxRow;
use openledger_store::{Error, Store, transact_locked};

/// The outbox in the database: a transaction is written down before it is sent.
pub(crate) struct StoreOutbox(pub(crate) Store);

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> OutboxError {
    OutboxError(Box::new(error))
}

fn transaction(row: &OutboxRow) -> SignedTransaction {
    SignedTransaction {
        key: row.key.clone(),
        sender: row.sender,
        nonce: row.nonce,
        raw: Bytes::from(row.raw.clone()),
        hash: row.tx_hash,
    }
}

impl Outbox for StoreOutbox {
    fn get<'a>(&'a self, key: &'a str) -> OutboxFuture<'a, Option<OutboxEntry>> {
        Box::pin(async move {
            let row = self.0.outbox_get(key).await.map_err(failed)?;
            Ok(row.map(|row| OutboxEntry { transaction: transaction(&row), mined: row.block }))
        })
    }

    fn next_nonce(&self, sender: Address) -> OutboxFuture<'_, u64> {
        Box::pin(async move { self.0.next_nonce(sender, 0).await.map_err(failed) })
    }

    fn put_signed(&self, signed: SignedTransaction) -> OutboxFuture<'_, bool> {
        Box::pin(async move {
            let SignedTransaction { key, sender, nonce, raw, hash } = &signed;
            let put = transact_locked!(self.0, |tx| tx.outbox_put_signed(key, *sender, *nonce, raw, *hash).await);
            match put {
                Ok(()) => Ok(true),
                // Another process on this database has the key or the nonce.
                Err(Error::Exists { .. }) => Ok(false),
                Err(error) => Err(failed(error)),
            }
        })
    }

    fn mark_mined<'a>(&'a self, key: &'a str, block: u64, gas: u64, succeeded: bool) -> OutboxFuture<'a, ()> {
        Box::pin(async move {
            transact_locked!(self.0, |tx| tx.outbox_mined(key, block, gas, succeeded).await).map_err(failed)
        })
    }

    fn unmined(&self, sender: Address) -> OutboxFuture<'_, Vec<SignedTransaction>> {
        Box::pin(async move {
            let rows = self.0.outbox_pending().await.map_err(failed)?;
            Ok(rows.iter().filter(|row| row.sender == sender).map(transaction).collect())
        })
    }
}
