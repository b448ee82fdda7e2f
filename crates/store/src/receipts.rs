//! Receipts and the entries their prices were split into.
//!
//! A receipt enters in the transaction that charges it, and belongs to the epoch that was open then.
//!
//! **Invariant:** an epoch's receipts are ordered by id, its entries by account, receipt and line, as their trees are.
//!
//! Not here: that entries sum to the price (`ledger`), signatures (`protocol`).

use openledger_protocol::Entry;

use crate::counters::Counter;
use crate::db::{Reads, Tx};
use crate::entries::entry_rows;
use crate::epochs::EpochState;
use crate::error::{Error, Result};
use crate::ids::{Address, Amount, ChannelId, ModelId, ReceiptId};
use crate::reservations::ReceiptPlace;
use crate::sql::{FOR_SHARE, Row, Value, values};

/// What a receipt has beside its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewReceipt<'a> {
    /// Its id.
    pub id: ReceiptId,
    /// The model that answered.
    pub model: ModelId,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the answer.
    pub tokens_out: u32,
    /// The bundle as JSON, kept to the byte.
    pub body: &'a str,
}

/// A receipt as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Its id.
    pub id: ReceiptId,
    /// The channel that paid.
    pub channel: ChannelId,
    /// Who paid.
    pub payer: Address,
    /// The model that answered.
    pub model: ModelId,
    /// Its number in the channel, from 1.
    pub nonce: u64,
    /// The epoch it belongs to.
    pub epoch: u64,
    /// The price.
    pub price: Amount,
    /// When it was signed, Unix seconds, as in the receipt.
    pub time: u64,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the answer.
    pub tokens_out: u32,
    /// Place of its leaf in the epoch's tree, once that is closed.
    pub place: Option<u64>,
    /// The bundle as JSON, kept to the byte.
    pub body: String,
}

/// Which receipts are listed: those that agree with every member that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiptFilter {
    /// Of this channel.
    pub channel: Option<ChannelId>,
    /// Of this payer.
    pub payer: Option<Address>,
    /// Of this model.
    pub model: Option<ModelId>,
    /// Of this epoch.
    pub epoch: Option<u64>,
}

/// The last receipt of a page; the next page goes on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptCursor {
    /// Its time.
    pub time: u64,
    /// Its id.
    pub id: ReceiptId,
}

/// The signed credit note of a receipt whose credits came later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditNoteRow {
    /// The receipt.
    pub receipt: ReceiptId,
    /// When it was signed, Unix seconds.
    pub time: u64,
    /// The note as JSON, kept to the byte.
    pub body: String,
}

const SELECT: &str = "SELECT r.id, r.channel, r.payer, r.model, r.nonce, r.epoch, r.price, r.time, r.tokens_in, \
                      r.tokens_out, r.place, b.body FROM receipts r JOIN receipt_bodies b ON b.receipt = r.id";

fn read(row: &Row) -> Result<ReceiptRow> {
    Ok(ReceiptRow {
        id: row.get(0)?,
        channel: row.get(1)?,
        payer: row.get(2)?,
        model: row.get(3)?,
        nonce: row.get(4)?,
        epoch: row.get(5)?,
        price: row.get(6)?,
        time: row.get(7)?,
        tokens_in: row.get(8)?,
        tokens_out: row.get(9)?,
        place: row.get(10)?,
        body: row.get(11)?,
    })
}

fn read_note(row: &Row) -> Result<CreditNoteRow> {
    Ok(CreditNoteRow { receipt: row.get(0)?, time: row.get(1)?, body: row.get(2)? })
}

impl Reads {
    /// The receipt with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Malformed`].
    pub async fn receipt(&self, id: ReceiptId) -> Result<Option<ReceiptRow>> {
        self.one(format!("{SELECT} WHERE r.id = ?"), values![id], read).await
    }

    /// A page of receipts, by time and then by id, newest first: at most `limit` of them after `after`.
    ///
    /// # Errors
    ///
    /// As [`Reads::receipt`].
    pub async fn receipts(
        &self,
        filter: &ReceiptFilter,
        after: Option<ReceiptCursor>,
        limit: u32,
    ) -> Result<Vec<ReceiptRow>> {
        let ReceiptFilter { channel, payer, model, epoch } = *filter;
        // The narrowest first: it picks the index.
        let given = [
            ("r.channel", channel.map(Value::from)),
            ("r.epoch", epoch.map(Value::from)),
            ("r.payer", payer.map(Value::from)),
            ("r.model", model.map(Value::from)),
        ];
        let (mut conditions, mut values) = (Vec::new(), values![]);
        for (column, value) in given {
            let Some(value) = value else { continue };
            // An expression keeps an engine that does not know the numbers from the index of a wider filter.
            conditions.push(match conditions.is_empty() {
                true => format!("{column} = ?"),
                false => format!("COALESCE({column}, {column}) = ?"),
            });
            values.push(value);
        }
        if let Some(ReceiptCursor { time, id }) = after {
            conditions.push("(r.time, r.id) < (?, ?)".to_owned());
            values.extend(values![time, id]);
        }
        values.push(limit.into());
        let filter = if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") };
        let sql = format!("{SELECT} WHERE {filter} ORDER BY r.time DESC, r.id DESC LIMIT ?");
        self.list(sql, values, read).await
    }

    /// A page of an epoch's receipts in the order of its tree: at most `limit` of them after `after`.
    ///
    /// # Errors
    ///
    /// As [`Reads::receipt`].
    pub async fn epoch_receipts(&self, epoch: u64, after: Option<ReceiptId>, limit: u32) -> Result<Vec<ReceiptRow>> {
        match after {
            Some(after) => {
                let sql = format!("{SELECT} WHERE r.epoch = ? AND r.id > ? ORDER BY r.id LIMIT ?");
                self.list(sql, values![epoch, after, limit], read).await
            }
            None => {
                let sql = format!("{SELECT} WHERE r.epoch = ? ORDER BY r.id LIMIT ?");
                self.list(sql, values![epoch, limit], read).await
            }
        }
    }

    /// The credit note of a receipt. For deferred credits, which the node does not write yet.
    ///
    /// # Errors
    ///
    /// As [`Reads::receipt`].
    pub async fn credit_note(&self, receipt: ReceiptId) -> Result<Option<CreditNoteRow>> {
        let sql = "SELECT receipt, time, body FROM credit_notes WHERE receipt = ?";
        self.one(sql, values![receipt], read_note).await
    }

    /// The receipts of an epoch that have no entry, by id: their credits are not known yet, or they
    /// cost nothing.
    ///
    /// # Errors
    ///
    /// As [`Reads::receipt`].
    pub async fn receipts_without_entries(&self, epoch: u64) -> Result<Vec<ReceiptId>> {
        let sql = "SELECT r.id FROM receipts r WHERE r.epoch = ? \
                   AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.receipt = r.id) ORDER BY r.id";
        self.list(sql, values![epoch], |row| row.get(0)).await
    }
}

impl Tx {
    /// Adds the receipt of a charge with its entries, in the transaction of the charge. Entries of
    /// deferred credits come later, by [`Tx::put_credit_note`].
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the id is taken.
    pub async fn put_receipt(&mut self, place: ReceiptPlace, r: &NewReceipt<'_>, entries: &[Entry]) -> Result<()> {
        let ReceiptPlace { channel, payer, nonce, price, epoch, time, .. } = place;
        let row = values![r.id, channel, payer, r.model, nonce, epoch, price, time, r.tokens_in, r.tokens_out];
        let head = "receipts (id, channel, payer, model, nonce, epoch, price, time, tokens_in, tokens_out)";
        self.insert_all(head, vec![row]).await?;
        self.insert_all("receipt_bodies (receipt, body)", vec![values![r.id, r.body]]).await?;
        self.insert_all(ENTRIES, entry_rows(epoch, entries)).await?;
        let counted = [
            (Counter::Receipts, 1),
            (Counter::TokensIn, r.tokens_in.into()),
            (Counter::TokensOut, r.tokens_out.into()),
            (Counter::Priced, price.0),
        ];
        self.count(channel.0[31], &counted).await
    }

    /// Adds the credit note of a receipt with the entries it fixes, while the roots of the receipt's
    /// epoch are not fixed. The node credits every answer at once: deferred credits will call this.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no such receipt, [`Error::State`] when its epoch is closed;
    /// nothing is changed then. [`Error::Exists`] when the receipt has a note or these entries.
    pub async fn put_credit_note(&mut self, note: &CreditNoteRow, entries: &[Entry]) -> Result<()> {
        let epoch = self.crediting_epoch(note.receipt).await?;
        let row = values![note.receipt, note.time, note.body.as_str()];
        self.insert_all("credit_notes (receipt, time, body)", vec![row]).await?;
        self.insert_all(ENTRIES, entry_rows(epoch, entries)).await
    }

    /// Adds the entries of a receipt that has none, while its epoch's roots are not fixed.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no such receipt, [`Error::State`] when its epoch is closed; nothing is changed
    /// then. [`Error::Exists`] when the receipt has entries.
    pub async fn put_entries(&mut self, receipt: ReceiptId, entries: &[Entry]) -> Result<()> {
        let epoch = self.crediting_epoch(receipt).await?;
        self.insert_all(ENTRIES, entry_rows(epoch, entries)).await
    }

    /// The epoch of a receipt, which stays open to entries until this transaction ends.
    async fn crediting_epoch(&mut self, receipt: ReceiptId) -> Result<u64> {
        let sql = format!(
            "SELECT e.number, e.state FROM epochs e WHERE e.number = (SELECT epoch FROM receipts WHERE id = ?) \
             {FOR_SHARE}"
        );
        let epoch = self.one(sql, values![receipt], |row| Ok((row.get(0)?, row.get(1)?))).await?;
        let (number, state): (u64, EpochState) = epoch.ok_or_else(|| Error::missing("receipt", receipt))?;
        match state {
            EpochState::Open | EpochState::Closing => Ok(number),
            state => Err(Error::state("epoch", number, state, "credited")),
        }
    }
}

const ENTRIES: &str = "entries (receipt, line, epoch, role, account, contribution, amount)";
