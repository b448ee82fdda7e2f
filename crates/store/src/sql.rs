//! One SQL for two engines: values to bind, columns to read, and the few words that differ.
//!
//! Statements are written once, with `?` for values. [`render`] numbers them for Postgres. The subset: `BIGINT`,
//! `TEXT` and `BYTEA` columns; `INSERT … ON CONFLICT`, `UPDATE … RETURNING`, plain selects with a full `ORDER BY`.
//! `SUM` is not in it (its type differs, and amounts are bytes); neither is any function of time.
//!
//! Not here: connections and transactions (`db`).

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, Result};
use crate::ids::{
    AdapterHash, Address, Amount, B256, BaseHash, BlobHash, ChannelId, ContributionId, DatanetId, ModelId, ReceiptId,
};

/// Rows laid down by one `INSERT`; with the widest table it stays far under both engines' limits on values.
pub(crate) const ROWS_PER_INSERT: usize = 500;

/// Put into a sub-select that picks a row to change: workers then pass over rows that others hold.
///
/// SQLite has one writer, so there it is nothing.
pub(crate) const SKIP_LOCKED: &str = "{skip locked}";

/// A value bound to a statement. Each kind knows its null, since Postgres wants a type for it.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A `BIGINT`; all our integers are non-negative.
    Int(Option<u64>),
    /// A `TEXT`.
    Text(Option<String>),
    /// A `BYTEA` (`BLOB`).
    Bytes(Option<Vec<u8>>),
}

/// Writes a list of values: `values![a, b]` is `vec![Value::from(a), Value::from(b)]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::sql::Value::from($value)),*] };
}
pub(crate) use values;

/// Turns types into one kind of value, with and without `Option`.
macro_rules! value_from {
    ($kind:ident: $($type:ty => $convert:expr),* $(,)?) => { $(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$kind(Some($convert(value)))
            }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$kind(value.map($convert))
            }
        }
    )* };
}
value_from!(Int:
    u64 => |v| v,
    u32 => u64::from,
    u16 => u64::from,
    bool => u64::from,
    DatanetId => |v: DatanetId| v.0,
    ModelId => |v: ModelId| v.0,
);
value_from!(Text: String => |v| v, &str => str::to_owned);
value_from!(Bytes:
    Vec<u8> => |v| v,
    B256 => |v: B256| v.to_vec(),
    Address => |v: Address| v.to_vec(),
    Amount => |v: Amount| v.to_be_bytes().to_vec(),
    AdapterHash => |v: AdapterHash| v.0.to_vec(),
    BaseHash => |v: BaseHash| v.0.to_vec(),
    BlobHash => |v: BlobHash| v.0.to_vec(),
    ChannelId => |v: ChannelId| v.0.to_vec(),
    ContributionId => |v: ContributionId| v.0.to_vec(),
    ReceiptId => |v: ReceiptId| v.0.to_vec(),
);

/// A value as JSON text.
pub(crate) fn json(value: &impl Serialize) -> Result<Value> {
    Ok(Value::Text(Some(serde_json::to_string(value)?)))
}

/// Binds values to a query of either engine.
macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                $crate::sql::Value::Int(None) => query.bind(None::<i64>),
                $crate::sql::Value::Int(Some(value)) => {
                    query.bind(i64::try_from(value).map_err(|_| $crate::error::Error::TooLarge { value })?)
                }
                $crate::sql::Value::Text(value) => query.bind(value),
                $crate::sql::Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}
pub(crate) use bind_all;

/// A statement in the words of one engine: `$1, $2, …` for Postgres, `?` for SQLite.
///
/// Our statements hold no `?` but for values; texts are always bound.
pub(crate) fn render(sql: &str, postgres: bool) -> String {
    if !postgres {
        return sql.replace(SKIP_LOCKED, "");
    }
    let mut rendered = String::with_capacity(sql.len() + 16);
    for (i, part) in sql.split('?').enumerate() {
        if i > 0 {
            rendered.push('$');
            rendered.push_str(&i.to_string());
        }
        rendered.push_str(part);
    }
    rendered.replace(SKIP_LOCKED, "FOR UPDATE SKIP LOCKED")
}

/// `?, ?, …` with `count` places.
pub(crate) fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// `INSERT INTO <head> VALUES (?, …), (?, …)` for `rows` rows of `columns` values.
pub(crate) fn insert_many(head: &str, columns: usize, rows: usize) -> Cow<'static, str> {
    let row = format!("({})", places(columns));
    Cow::Owned(format!("INSERT INTO {head} VALUES {}", vec![row; rows].join(", ")))
}

/// A row of either engine, read by position.
pub(crate) enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From Postgres.
    Postgres(PgRow),
}

impl Row {
    /// The column at `column`, counted from 0 in the order of the select list.
    pub(crate) fn get<T: Column>(&self, column: usize) -> Result<T> {
        T::read(self, column)
    }

    /// The JSON column at `column`.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T> {
        Ok(serde_json::from_str(&self.get::<String>(column)?)?)
    }

    fn decode<T>(&self, column: usize, expected: &'static str) -> Result<Option<T>>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        use sqlx::Row as _;
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| Error::Malformed { column, expected })
    }
}

/// What a column can be read into.
pub(crate) trait Column: Sized {
    /// What the column should hold, for the error.
    const EXPECTED: &'static str;

    /// Reads the column, `None` for null.
    fn read_nullable(row: &Row, column: usize) -> Result<Option<Self>>;

    /// Reads the column; null is an error unless the type is an `Option`.
    fn read(row: &Row, column: usize) -> Result<Self> {
        Self::read_nullable(row, column)?.ok_or(Error::Malformed { column, expected: Self::EXPECTED })
    }
}

impl<T: Column> Column for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read_nullable(row: &Row, column: usize) -> Result<Option<Self>> {
        T::read_nullable(row, column).map(Some)
    }
}

/// Reads columns through a plain type and a conversion that may fail.
macro_rules! column {
    ($($type:ty, $expected:literal, $via:ty, $convert:expr);* $(;)?) => { $(
        impl Column for $type {
            const EXPECTED: &'static str = $expected;

            fn read_nullable(row: &Row, column: usize) -> Result<Option<Self>> {
                let malformed = || Error::Malformed { column, expected: $expected };
                match row.decode::<$via>(column, $expected)? {
                    None => Ok(None),
                    Some(plain) => $convert(plain).map(Some).ok_or_else(malformed),
                }
            }
        }
    )* };
}
column! {
    u64, "a non-negative integer", i64, |v: i64| u64::try_from(v).ok();
    u32, "a 32-bit integer", i64, |v: i64| u32::try_from(v).ok();
    u16, "a 16-bit integer", i64, |v: i64| u16::try_from(v).ok();
    bool, "0 or 1", i64, |v: i64| match v { 0 => Some(false), 1 => Some(true), _ => None };
    String, "text", String, Some;
    Vec<u8>, "bytes", Vec<u8>, Some;
    B256, "32 bytes", Vec<u8>, |v: Vec<u8>| B256::try_from(v.as_slice()).ok();
    Address, "20 bytes", Vec<u8>, |v: Vec<u8>| Address::try_from(v.as_slice()).ok();
    Amount, "a 16-byte amount", Vec<u8>, |v: Vec<u8>| <[u8; 16]>::try_from(v).ok().map(Amount::from_be_bytes);
    DatanetId, "a datanet's id", i64, |v: i64| u64::try_from(v).ok().map(DatanetId);
    ModelId, "a model's id", i64, |v: i64| u64::try_from(v).ok().map(ModelId);
    AdapterHash, "32 bytes", Vec<u8>, |v: Vec<u8>| B256::try_from(v.as_slice()).ok().map(AdapterHash);
    BaseHash, "32 bytes", Vec<u8>, |v: Vec<u8>| B256::try_from(v.as_slice()).ok().map(BaseHash);
    BlobHash, "32 bytes", Vec<u8>, |v: Vec<u8>| B256::try_from(v.as_slice()).ok().map(BlobHash);
    ChannelId, "32 bytes", Vec<u8>, |v: Vec<u8>| B256::try_from(v.as_slice()).ok().map(ChannelId);
    ContributionId, "32 bytes", Vec<u8>, |v: Vec<u8>| B256::try_from(v.as_slice()).ok().map(ContributionId);
    ReceiptId, "32 bytes", Vec<u8>, |v: Vec<u8>| B256::try_from(v.as_slice()).ok().map(ReceiptId);
}

/// An enum whose variants are words in a `TEXT` column, with the words in one place.
macro_rules! words {
    ($(#[$outer:meta])* pub enum $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$inner])* $variant),* }

        impl $name {
            /// The word that stands in the database and in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<$name> for $crate::sql::Value {
            fn from(value: $name) -> Self {
                Self::from(value.as_str())
            }
        }

        impl $crate::sql::Column for $name {
            const EXPECTED: &'static str = concat!("a word of ", stringify!($name));

            fn read_nullable(row: &$crate::sql::Row, column: usize) -> $crate::error::Result<Option<Self>> {
                let Some(word) = <String as $crate::sql::Column>::read_nullable(row, column)? else {
                    return Ok(None);
                };
                match word.as_str() {
                    $($word => Ok(Some(Self::$variant)),)*
                    _ => Err($crate::error::Error::Malformed { column, expected: Self::EXPECTED }),
                }
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_for_postgres_only() {
        assert_eq!(render("a = ? AND b = ?", true), "a = $1 AND b = $2");
        assert_eq!(render("a = ? AND b = ?", false), "a = ? AND b = ?");
    }

    #[test]
    fn rows_are_locked_on_postgres_only() {
        let sql = format!("SELECT id FROM jobs {SKIP_LOCKED}");
        assert_eq!(render(&sql, true), "SELECT id FROM jobs FOR UPDATE SKIP LOCKED");
        assert_eq!(render(&sql, false), "SELECT id FROM jobs ");
    }

    #[test]
    fn an_insert_has_one_group_of_places_per_row() {
        assert_eq!(insert_many("t (a, b)", 2, 2), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
    }
}
