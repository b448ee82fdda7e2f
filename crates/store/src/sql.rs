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

/// Rows written by one `INSERT`; with the widest table it stays far under both engines' limits on values.
pub(crate) const ROWS_PER_INSERT: usize = 500;

/// Put into a sub-select that picks a row to change: workers then pass over rows that others hold.
///
/// SQLite has one writer, so there it is nothing.
pub(crate) const SKIP_LOCKED: &str = "{skip locked}";

/// Put after a select whose rows are about to be changed: others that want them wait until the transaction ends.
pub(crate) const FOR_UPDATE: &str = "{for update}";

/// Put after a select whose rows must stay as they are until the transaction ends.
pub(crate) const FOR_SHARE: &str = "{for share}";

/// The words that lock rows, with what they are on Postgres; SQLite has one writer, so there they are nothing.
const LOCKS: [(&str, &str); 3] =
    [(SKIP_LOCKED, "FOR UPDATE SKIP LOCKED"), (FOR_UPDATE, "FOR UPDATE"), (FOR_SHARE, "FOR SHARE")];

/// A value bound to a statement. Each kind has a null of its own, since Postgres needs its type.
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
    &[u8] => |v: &[u8]| v.to_vec(),
    &[B256] => |v: &[B256]| v.iter().flat_map(|id| id.0).collect(),
    &[Address] => |v: &[Address]| v.iter().flat_map(|account| account.into_array()).collect(),
    &[ContributionId] => |v: &[ContributionId]| v.iter().flat_map(|id| id.0.0).collect(),
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
        return LOCKS.iter().fold(sql.to_owned(), |sql, (word, _)| sql.replace(word, ""));
    }
    let mut rendered = String::with_capacity(sql.len() + 16);
    for (i, part) in sql.split('?').enumerate() {
        if i > 0 {
            rendered.push('$');
            rendered.push_str(&i.to_string());
        }
        rendered.push_str(part);
    }
    LOCKS.iter().fold(rendered, |sql, (word, lock)| sql.replace(word, lock))
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

    /// The JSON column at `column`; what it should hold is named in the error.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: usize, expected: &'static str) -> Result<T> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|_| self.malformed(column, expected))
    }

    /// The column's name, for errors.
    fn name(&self, column: usize) -> String {
        use sqlx::{Column as _, Row as _};
        let name = match self {
            Self::Sqlite(row) => row.columns().get(column).map(|column| column.name().to_owned()),
            Self::Postgres(row) => row.columns().get(column).map(|column| column.name().to_owned()),
        };
        name.unwrap_or_else(|| column.to_string())
    }

    /// The column holds something that its type cannot be.
    pub(crate) fn malformed(&self, column: usize, expected: &'static str) -> Error {
        Error::Malformed { column: self.name(column), expected }
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
        .map_err(|_| self.malformed(column, expected))
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
        Self::read_nullable(row, column)?.ok_or_else(|| row.malformed(column, Self::EXPECTED))
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
                let malformed = || row.malformed(column, $expected);
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
    Vec<B256>, "hashes of 32 bytes", Vec<u8>, |v: Vec<u8>| words_of(&v, B256::from);
    Vec<ContributionId>, "ids of 32 bytes", Vec<u8>, |v: Vec<u8>| words_of(&v, |id| ContributionId(B256::from(id)));
    Vec<Address>, "addresses of 20 bytes", Vec<u8>, |v: Vec<u8>| words_of(&v, Address::from);
}

/// A list whose members lie in a column one after the other, `N` bytes each.
fn words_of<const N: usize, T>(bytes: &[u8], word: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (words, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| words.iter().map(|&bytes| word(bytes)).collect())
}

/// An enum whose variants are words in a `TEXT` column, with the words in one place.
macro_rules! words {
    ($(#[$outer:meta])* $vis:vis enum $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$inner])* $variant),* }

        impl $name {
            /// The word that stands in the database and in JSON.
            #[must_use]
            $vis fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value of a word.
            #[must_use]
            $vis fn named(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
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
                Self::named(&word).map(Some).ok_or_else(|| row.malformed(column, Self::EXPECTED))
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
        let sql = format!("SELECT 1 {FOR_UPDATE}; SELECT 2 {FOR_SHARE}");
        assert_eq!(render(&sql, true), "SELECT 1 FOR UPDATE; SELECT 2 FOR SHARE");
    }

    #[test]
    fn a_list_in_a_column_has_whole_members() {
        assert_eq!(words_of(&[1, 2, 3, 4], <[u8; 2]>::from), Some(vec![[1, 2], [3, 4]]));
        assert_eq!(words_of(&[1, 2, 3], <[u8; 2]>::from), None);
    }

    #[test]
    fn an_insert_has_one_group_of_places_per_row() {
        assert_eq!(insert_many("t (a, b)", 2, 2), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
    }
}
