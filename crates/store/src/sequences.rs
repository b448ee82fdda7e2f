//! Numbers that are given out one after the other.

use std::ops::Range;

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::sql::values;

impl Tx {
    /// The next number of a counter, from 1. A transaction that is taken back gives its number back.
    pub(crate) async fn next_sequence(&mut self, name: &str) -> Result<u64> {
        Ok(self.next_sequences(name, 1).await?.start)
    }

    /// As [`Tx::next_sequence`], for the next `count` numbers at once.
    pub(crate) async fn next_sequences(&mut self, name: &str, count: u32) -> Result<Range<u64>> {
        let sql = "INSERT INTO sequences (name, value) VALUES (?, ?) \
                   ON CONFLICT (name) DO UPDATE SET value = sequences.value + excluded.value RETURNING value";
        let row = self.row(sql, values![name, count]).await?;
        let last: u64 = row.ok_or_else(|| Error::missing("sequence", name))?.get(0)?;
        let end = last + 1;
        Ok(end - u64::from(count)..end)
    }
}
