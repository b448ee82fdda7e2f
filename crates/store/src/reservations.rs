//! Money in two phases: the dearest answer is reserved before work begins, the actual price is charged after it.
//!
//! Every step locks the channel's row first, so concurrent steps on one channel follow each other.
//!
//! # Invariants
//!
//! - A channel's `reserved` is the sum of its held reservations; none makes `spent + reserved`
//!   exceed `deposited`.
//! - A reservation is charged or released once; what it held beyond the price is free again in the same transaction.
//! - Along a channel's nonces, cumulative amount, time and epoch never fall.
//!
//! Not here: receipts' rows (`receipts`), the state of epochs (`epochs`).

use crate::channels::{Channel, ChannelState, within};
use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, ChannelId};
use crate::sql::{ROWS_PER_INSERT, Row, values, words};
use crate::store::Store;
use crate::transact_locked;

words! {
    /// What became of a reservation.
    pub enum ReservationState {
        /// Its amount is kept for an answer.
        Held = "held",
        /// The answer was charged.
        Charged = "charged",
        /// It was given back.
        Released = "released",
    }
}

/// A reservation's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId {
    /// The channel that pays.
    pub channel: ChannelId,
    /// Its number in the channel, from 1.
    pub number: u64,
}

impl std::fmt::Display for ReservationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.channel, self.number)
    }
}

/// A reservation to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewReservation<'a> {
    /// The channel that pays.
    pub channel: ChannelId,
    /// The most that the answer can cost.
    pub amount: Amount,
    /// The node instance that works on the answer.
    pub holder: &'a str,
    /// When others may release it, Unix milliseconds.
    pub lease_until: u64,
    /// The idempotency key of the request.
    pub key: Option<&'a str>,
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its name.
    pub id: ReservationId,
    /// What it reserves.
    pub amount: Amount,
    /// The node instance that made it.
    pub holder: String,
    /// When others may release it, Unix milliseconds.
    pub lease_until: u64,
    /// The idempotency key of the request.
    pub key: Option<String>,
    /// What became of it.
    pub state: ReservationState,
    /// What was charged of it, once it was.
    pub charged: Option<Amount>,
}

/// The place of a receipt that was charged: its members go into the receipt as they are.
///
/// It is used up by [`Tx::put_receipt`] in the same transaction.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a charge without its receipt must not be committed"]
pub struct ReceiptPlace {
    /// The channel that pays.
    pub channel: ChannelId,
    /// Who pays.
    pub payer: Address,
    /// The receipt's number in the channel, from 1.
    pub nonce: u64,
    /// What the channel has spent with this receipt.
    pub cumulative: Amount,
    /// What was charged.
    pub price: Amount,
    /// The epoch the receipt belongs to.
    pub epoch: u64,
    /// The receipt's time, Unix seconds: after the cutoff of the epoch before.
    pub time: u64,
}

const SELECT: &str = "SELECT channel, number, amount, holder, lease_until, key, state, charged FROM reservations";

fn read(row: &Row) -> Result<Reservation> {
    Ok(Reservation {
        id: read_id(row)?,
        amount: row.get(2)?,
        holder: row.get(3)?,
        lease_until: row.get(4)?,
        key: row.get(5)?,
        state: row.get(6)?,
        charged: row.get(7)?,
    })
}

fn read_id(row: &Row) -> Result<ReservationId> {
    Ok(ReservationId { channel: row.get(0)?, number: row.get(1)? })
}

impl Reads {
    /// The reservation with this name.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn reservation(&self, id: ReservationId) -> Result<Option<Reservation>> {
        let sql = format!("{SELECT} WHERE channel = ? AND number = ?");
        self.one(sql, values![id.channel, id.number], read).await
    }
}

impl Tx {
    /// Reserves an amount on a channel.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::ChannelClosed`] when the channel is not open, [`Error::Insufficient`] when less is
    /// free. Nothing is changed then.
    pub async fn reserve(&mut self, new: &NewReservation<'_>) -> Result<Reservation> {
        let channel = self.locked_channel(new.channel).await?;
        if channel.state != ChannelState::Open {
            return Err(Error::ChannelClosed { channel: channel.id });
        }
        let free = channel.free();
        if new.amount > free {
            return Err(Error::Insufficient { channel: channel.id, needed: new.amount, free });
        }
        let sql = "UPDATE channels SET reserved = ?, reservations = reservations + 1 WHERE id = ? \
                   RETURNING reservations";
        let row = self.row(sql, values![channel.reserved.plus(new.amount)?, channel.id]).await?;
        let number = row.ok_or_else(|| Error::missing("channel", channel.id))?.get(0)?;
        let made = Reservation {
            id: ReservationId { channel: channel.id, number },
            amount: new.amount,
            holder: new.holder.to_owned(),
            lease_until: new.lease_until,
            key: new.key.map(str::to_owned),
            state: ReservationState::Held,
            charged: None,
        };
        let row = values![channel.id, number, made.amount, new.holder, made.lease_until, new.key, made.state];
        let head = "reservations (channel, number, amount, holder, lease_until, key, state)";
        self.insert_all(head, vec![row]).await?;
        Ok(made)
    }

    /// Charges `price` of a reservation and releases the rest; gives the receipt's place in channel and open epoch.
    ///
    /// `now` is the node's clock in Unix seconds; the receipt's time is later where the channel's last receipt or the
    /// last cutoff is. Put the receipt in the same transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::State`] when it is not held any more; [`Error::OutOfBounds`]
    /// when the price is more than is reserved; [`Error::OtherOperator`] when the open epoch is
    /// another's. Nothing is changed then.
    pub async fn charge(&mut self, id: ReservationId, price: Amount, now: u64) -> Result<ReceiptPlace> {
        let (channel, reservation) = self.locked_reservation(id).await?;
        if reservation.state != ReservationState::Held {
            return Err(Error::state("reservation", id, reservation.state, ReservationState::Charged));
        }
        within(format!("the price charged to reservation {id}"), price, Amount::ZERO, reservation.amount)?;
        let cumulative = channel.spent.plus(price)?;
        let reserved = freed(&channel, reservation.amount)?;
        let epoch = self.current_epoch().await?;
        if epoch.node != channel.payee {
            let (channel, payee, operator) = (channel.id, channel.payee, epoch.node);
            return Err(Error::OtherOperator { channel, payee, operator });
        }
        let time = now.max(channel.time).max(epoch.after.saturating_add(1));
        let nonce = channel.nonce + 1;
        let sql = "UPDATE channels SET spent = ?, reserved = ?, nonce = ?, time = ? WHERE id = ?";
        self.execute(sql, values![cumulative, reserved, nonce, time, channel.id]).await?;
        let sql = "UPDATE reservations SET state = 'charged', charged = ? WHERE channel = ? AND number = ?";
        self.execute(sql, values![price, id.channel, id.number]).await?;
        let (channel, payer) = (channel.id, channel.payer);
        Ok(ReceiptPlace { channel, payer, nonce, cumulative, price, epoch: epoch.number, time })
    }

    /// Releases a reservation; nothing happens when it is not held any more.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`].
    pub async fn release(&mut self, id: ReservationId) -> Result<()> {
        self.release_ended(id, u64::MAX >> 1).await.map(drop)
    }

    /// Releases every reservation whose lease is over at `now`, and says how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn release_expired(&mut self, now: u64) -> Result<u64> {
        let sql = "SELECT channel, number FROM reservations WHERE state = 'held' AND lease_until <= ? \
                   ORDER BY channel, number";
        let expired = self.list(sql, values![now], read_id).await?;
        let mut released = 0;
        for id in expired {
            released += u64::from(self.release_ended(id, now).await?);
        }
        Ok(released)
    }

    /// Releases every reservation of a node instance, which started anew, and says how many there were.
    ///
    /// # Errors
    ///
    /// As [`Tx::release_expired`].
    pub async fn release_of_holder(&mut self, holder: &str) -> Result<u64> {
        let sql = "SELECT channel, number FROM reservations WHERE state = 'held' AND holder = ? \
                   ORDER BY channel, number";
        let held = self.list(sql, values![holder], read_id).await?;
        let mut released = 0;
        for id in held {
            released += u64::from(self.release_ended(id, u64::MAX >> 1).await?);
        }
        Ok(released)
    }

    /// Releases a reservation that is held and whose lease ends at `end` or before.
    async fn release_ended(&mut self, id: ReservationId, end: u64) -> Result<bool> {
        let (channel, reservation) = self.locked_reservation(id).await?;
        // The row decides, not what was read: its lease may be extended at the same moment.
        let sql = "UPDATE reservations SET state = 'released' \
                   WHERE channel = ? AND number = ? AND state = 'held' AND lease_until <= ?";
        if self.execute(sql, values![id.channel, id.number, end]).await? == 0 {
            return Ok(false);
        }
        let reserved = freed(&channel, reservation.amount)?;
        self.execute("UPDATE channels SET reserved = ? WHERE id = ?", values![reserved, channel.id]).await?;
        Ok(true)
    }

    /// A reservation with its channel, whose lock it is changed under.
    async fn locked_reservation(&mut self, id: ReservationId) -> Result<(Channel, Reservation)> {
        let channel = self.locked_channel(id.channel).await?;
        let reservation = self.reservation(id).await?.ok_or_else(|| Error::missing("reservation", id))?;
        Ok((channel, reservation))
    }
}

/// What is reserved in a channel once `amount` is not.
fn freed(channel: &Channel, amount: Amount) -> Result<Amount> {
    channel.reserved.minus(amount).map_err(|error| Error::damaged("channel", channel.id, error))
}

impl Store {
    /// Extends those of `ids` that a node instance still holds until `lease_until`, and returns how
    /// many there are. Reservations outside `ids` run out, whoever made them.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn extend_reservations(&self, holder: &str, ids: &[ReservationId], lease_until: u64) -> Result<u64> {
        let mut extended = 0;
        for part in ids.chunks(ROWS_PER_INSERT) {
            let named = vec!["(?, ?)"; part.len()].join(", ");
            let sql = format!(
                "UPDATE reservations SET lease_until = ? WHERE holder = ? AND state = 'held' \
                 AND (channel, number) IN (VALUES {named})"
            );
            let mut values = values![lease_until, holder];
            values.extend(part.iter().flat_map(|id| values![id.channel, id.number]));
            extended += transact_locked!(self, |tx| tx.execute(sql.clone(), values.clone()).await)?;
        }
        Ok(extended)
    }
}
