//! Prepaid channels: what was deposited and what is spent of it.
//!
//! **Invariant:** `spent` and `deposited` only grow, and `spent` never exceeds `deposited`.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, ChannelId};
use crate::sql::{Row, values, words};

words! {
    /// Whether a channel takes payments.
    pub enum ChannelState {
        /// It does.
        Open = "open",
        /// The payer asked for the rest back; it takes none.
        Closing = "closing",
        /// Settled.
        Closed = "closed",
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
    /// All deposits so far.
    pub deposited: Amount,
    /// What is spent, cumulative.
    pub spent: Amount,
    /// Receipts so far; also the nonce of the next one.
    pub nonce: u64,
    /// Whether it takes payments.
    pub state: ChannelState,
}

const SELECT: &str = "SELECT id, payer, payee, deposited, spent, nonce, state FROM channels";

fn read(row: &Row) -> Result<Channel> {
    Ok(Channel {
        id: row.get(0)?,
        payer: row.get(1)?,
        payee: row.get(2)?,
        deposited: row.get(3)?,
        spent: row.get(4)?,
        nonce: row.get(5)?,
        state: row.get(6)?,
    })
}

impl Reads {
    /// The channel with this id.
    pub async fn channel(&self, id: ChannelId) -> Result<Option<Channel>> {
        self.one(format!("{SELECT} WHERE id = ?"), values![id], read).await
    }

    /// A payer's channels, by id.
    pub async fn channels_of(&self, payer: Address) -> Result<Vec<Channel>> {
        self.list(format!("{SELECT} WHERE payer = ? ORDER BY id"), values![payer], read).await
    }

    /// The channels that paid for receipts which are in no epoch yet.
    pub async fn owing_channels(&self) -> Result<Vec<Channel>> {
        let owing = "id IN (SELECT channel FROM receipts WHERE epoch IS NULL)";
        self.list(format!("{SELECT} WHERE {owing} ORDER BY id"), values![], read).await
    }
}

impl Tx {
    /// Adds a channel. [`Error::Exists`] when it is there, [`Error::OutOfBounds`] when more is spent than deposited.
    pub async fn put_channel(&mut self, c: &Channel) -> Result<()> {
        within(format!("spent of channel {}", c.id), c.spent, Amount::ZERO, c.deposited)?;
        let row = values![c.id, c.payer, c.payee, c.deposited, c.spent, c.nonce, c.state];
        self.insert_all("channels (id, payer, payee, deposited, spent, nonce, state)", vec![row]).await
    }

    /// Spends up to `spent` (cumulative) for the receipt with nonce `expected`, and returns the channel after it.
    ///
    /// # Errors
    ///
    /// Nothing is changed when it fails with [`Error::Missing`], [`Error::ChannelClosed`], [`Error::ChannelMoved`] when
    /// the channel stands at another nonce, or [`Error::OutOfBounds`] when `spent` goes back or beyond the deposit.
    pub async fn spend(&mut self, id: ChannelId, expected: u64, spent: Amount) -> Result<Channel> {
        let mut channel = self.channel(id).await?.ok_or_else(|| Error::missing("channel", id))?;
        if channel.state != ChannelState::Open {
            return Err(Error::ChannelClosed { channel: id });
        }
        if channel.nonce != expected {
            return Err(Error::ChannelMoved { channel: id, expected, found: channel.nonce });
        }
        within(format!("spent of channel {id}"), spent, channel.spent, channel.deposited)?;
        let sql = "UPDATE channels SET spent = ?, nonce = nonce + 1 WHERE id = ? AND nonce = ?";
        self.execute(sql, values![spent, id, expected]).await?;
        channel.spent = spent;
        channel.nonce += 1;
        Ok(channel)
    }

    /// Sets all deposits so far, as the chain says.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], and [`Error::OutOfBounds`] when it would shrink.
    pub async fn set_deposited(&mut self, id: ChannelId, deposited: Amount) -> Result<()> {
        let channel = self.channel(id).await?.ok_or_else(|| Error::missing("channel", id))?;
        within(format!("deposited in channel {id}"), deposited, channel.deposited, Amount(u128::MAX))?;
        self.execute("UPDATE channels SET deposited = ? WHERE id = ?", values![deposited, id]).await?;
        Ok(())
    }

    /// Sets whether the channel takes payments. [`Error::Missing`] when there is none with this id.
    pub async fn set_channel_state(&mut self, id: ChannelId, state: ChannelState) -> Result<()> {
        match self.execute("UPDATE channels SET state = ? WHERE id = ?", values![state, id]).await? {
            0 => Err(Error::missing("channel", id)),
            _ => Ok(()),
        }
    }
}

fn within(subject: String, given: Amount, least: Amount, most: Amount) -> Result<()> {
    if (least..=most).contains(&given) { Ok(()) } else { Err(Error::OutOfBounds { subject, given, least, most }) }
}
