//! Prepaid channels: the amounts deposited, spent and reserved.
//!
//! # Invariants
//!
//! - `spent` only grows, `reserved` is the sum of the channel's held reservations, and no
//!   reservation makes `spent + reserved` exceed `deposited`.
//! - `deposited` is what the chain said when the channel was opened last: it falls when the payer
//!   took money back, even below what is spent, where that was not redeemed in time.
//! - **No withdrawal is overlooked.** A channel is opened by what the chain says as of a block, and
//!   never once a withdrawal request of a later block is noted. A request of a later block closes
//!   it.
//!
//! Not here: how amounts are reserved and charged (`reservations`).

use openledger_protocol::ChannelConfig;

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, ChannelId};
use crate::sql::{FOR_UPDATE, Row, values, words};

words! {
    /// Whether a channel takes payments.
    pub enum ChannelState {
        /// It does.
        Open = "open",
        /// The payer asked for the rest back: nothing more is reserved, what is reserved is still charged.
        Closing = "closing",
    }
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// Who pays.
    pub payer: Address,
    /// The node that is paid.
    pub payee: Address,
    /// Deposits minus withdrawals, as the chain had them when the channel was opened last.
    pub deposited: Amount,
    /// What is spent, cumulative.
    pub spent: Amount,
    /// What is reserved for answers that are not charged yet.
    pub reserved: Amount,
    /// Receipts so far: the last one's number, from 1.
    pub nonce: u64,
    /// Time of the last receipt, Unix seconds; 0 before the first.
    pub time: u64,
    /// Whether it takes payments.
    pub state: ChannelState,
}

impl Channel {
    /// What is deposited and neither spent nor reserved; zero when the payer took back more.
    #[must_use]
    pub fn free(&self) -> Amount {
        let free = self.deposited.minus(self.spent).and_then(|left| left.minus(self.reserved));
        free.unwrap_or(Amount::ZERO)
    }
}

pub(crate) const SELECT: &str = "SELECT id, payer, payee, deposited, spent, reserved, nonce, time, state FROM channels";

pub(crate) fn read(row: &Row) -> Result<Channel> {
    Ok(Channel {
        id: row.get(0)?,
        payer: row.get(1)?,
        payee: row.get(2)?,
        deposited: row.get(3)?,
        spent: row.get(4)?,
        reserved: row.get(5)?,
        nonce: row.get(6)?,
        time: row.get(7)?,
        state: row.get(8)?,
    })
}

fn read_config(row: &Row) -> Result<ChannelConfig> {
    Ok(ChannelConfig {
        payer: row.get(0)?,
        authorizer: row.get(1)?,
        node: row.get(2)?,
        withdraw_delay: row.get(3)?,
        salt: row.get(4)?,
    })
}

impl Reads {
    /// The channel with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn channel(&self, id: ChannelId) -> Result<Option<Channel>> {
        self.one(format!("{SELECT} WHERE id = ?"), values![id], read).await
    }

    /// The channels that paid for receipts of epochs that are not proposed yet, by id.
    ///
    /// # Errors
    ///
    /// As [`Reads::channel`].
    pub async fn owing_channels(&self) -> Result<Vec<Channel>> {
        // Epochs first: in a join SQLite walks every receipt there ever was, every few seconds.
        let owing = "id IN (SELECT channel FROM receipts WHERE epoch IN \
                     (SELECT number FROM epochs WHERE state IN ('open', 'closing', 'closed')))";
        self.list(format!("{SELECT} WHERE {owing} ORDER BY id"), values![], read).await
    }

    /// The channels that paid for receipts of an epoch, by id: those to be redeemed before it is proposed.
    ///
    /// # Errors
    ///
    /// As [`Reads::channel`].
    pub async fn channels_of_epoch(&self, epoch: u64) -> Result<Vec<Channel>> {
        let of = "id IN (SELECT channel FROM receipts WHERE epoch = ?)";
        self.list(format!("{SELECT} WHERE {of} ORDER BY id"), values![epoch], read).await
    }

    /// What a channel's id is the hash of.
    ///
    /// # Errors
    ///
    /// As [`Reads::channel`].
    pub async fn channel_config(&self, id: ChannelId) -> Result<Option<ChannelConfig>> {
        let sql = "SELECT payer, authorizer, node, withdraw_delay, salt FROM channel_configs WHERE channel = ?";
        self.one(sql, values![id], read_config).await
    }
}

impl Tx {
    /// Adds a channel with its configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when it is there, [`Error::OutOfBounds`] when more is spent than deposited, or something is
    /// reserved.
    pub async fn put_channel(&mut self, c: &Channel, config: &ChannelConfig) -> Result<()> {
        within(format!("spent of channel {}", c.id), c.spent, Amount::ZERO, c.deposited)?;
        within(format!("reserved in channel {}", c.id), c.reserved, Amount::ZERO, Amount::ZERO)?;
        let row = values![c.id, c.payer, c.payee, c.deposited, c.spent, c.reserved, c.nonce, c.time, 0u64, c.state];
        let head = "channels (id, payer, payee, deposited, spent, reserved, nonce, time, reservations, state)";
        self.insert_all(head, vec![row]).await?;
        let ChannelConfig { payer, authorizer, node, withdraw_delay, salt } = config;
        let row = values![c.id, *payer, *authorizer, *node, *withdraw_delay, *salt];
        let head = "channel_configs (channel, payer, authorizer, node, withdraw_delay, salt)";
        self.insert_all(head, vec![row]).await
    }

    /// Opens a channel with what is deposited in it, as the chain said it as of block `block` or
    /// later, without a pending withdrawal. `false`, and nothing changed, when a withdrawal request
    /// of a later block is noted, or it was opened as of a later one: what the chain said may be
    /// out of date.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`].
    pub async fn open_channel(&mut self, id: ChannelId, deposited: Amount, block: u64) -> Result<bool> {
        self.locked_channel(id).await?;
        let sql = "UPDATE channels SET deposited = ?, state = 'open', checked_at = ? \
                   WHERE id = ? AND asked_at <= ? AND checked_at <= ?";
        Ok(self.execute(sql, values![deposited, block, id, block, block]).await? > 0)
    }

    /// Notes that the payer asked money back in `block`: the channel takes no more reservations,
    /// unless it was opened since then. Nothing happens when there is no such channel.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn withdrawal_requested(&mut self, id: ChannelId, block: u64) -> Result<()> {
        let sql = "UPDATE channels SET state = 'closing', asked_at = CASE WHEN asked_at < ? THEN ? ELSE asked_at END \
                   WHERE id = ? AND checked_at < ?";
        self.execute(sql, values![block, block, id, block]).await.map(drop)
    }

    /// The channel as it is; nobody else changes it before this transaction ends.
    pub(crate) async fn locked_channel(&mut self, id: ChannelId) -> Result<Channel> {
        let found = self.one(format!("{SELECT} WHERE id = ? {FOR_UPDATE}"), values![id], read).await?;
        found.ok_or_else(|| Error::missing("channel", id))
    }
}

pub(crate) fn within(subject: String, given: Amount, least: Amount, most: Amount) -> Result<()> {
    if (least..=most).contains(&given) { Ok(()) } else { Err(Error::OutOfBounds { subject, given, least, most }) }
}
