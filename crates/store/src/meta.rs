//! Small facts by name (a logical clock, a cursor) and counters.

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::sql::values;

impl Reads {
    /// The bytes kept under `key`.
    pub async fn kv(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.one("SELECT value FROM kv WHERE key = ?", values![key], |row| row.get(0)).await
    }
}

impl Tx {
    /// Keeps `value` under `key`, in place of what was there.
    pub async fn put_kv(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let sql = "INSERT INTO kv (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.execute(sql, values![key, value.to_vec()]).await.map(drop)
    }

    /// The next number of a counter, from 1. A transaction that is taken back gives its number back.
    pub async fn next_sequence(&mut self, name: &str) -> Result<u64> {
        let sql = "INSERT INTO sequences (name, value) VALUES (?, 1) \
                   ON CONFLICT (name) DO UPDATE SET value = sequences.value + 1 RETURNING value";
        let row = self.row(sql, values![name]).await?;
        row.ok_or(Error::Malformed { column: 0, expected: "a counter" })?.get(0)
    }
}
