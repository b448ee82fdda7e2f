//! Numbers that are given out one after the other.

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::sql::values;

impl Tx {
    /// The next number of a counter, from 1. A transaction that is taken back gives its number back.
    pub(crate) async fn next_sequence(&mut self, name: &str) -> Result<u64> {
        let sql = "INSERT INTO sequences (name, value) VALUES (?, 1) \
                   ON CONFLICT (name) DO UPDATE SET value = sequences.value + 1 RETURNING value";
        let row = self.row(sql, values![name]).await?;
        row.ok_or_else(|| Error::missing("sequence", name))?.get(0)
    }
}
