//! Numbers of recipes as decimal strings, so that a hashed recipe holds no float and no integer
//! beyond 2⁵³.
//!
//! Reading takes a JSON or TOML number or a string; writing gives the shortest string that reads
//! back to the same value.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

/// Writes `value` as a decimal string.
pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads a number, or a string that holds one.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr,
    D: Deserializer<'de>,
{
    struct Digits<T>(PhantomData<T>);
    impl<T: FromStr> Digits<T> {
        fn parse<E: Error>(text: &str) -> Result<T, E> {
            text.parse().map_err(|_| E::custom(format!("`{text}` is not a number of the kind expected here")))
        }
    }
    impl<T: FromStr> Visitor<'_> for Digits<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number or a decimal string")
        }
        fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
            Self::parse(&value.to_string())
        }
        fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
            Self::parse(&value.to_string())
        }
        fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
            Self::parse(&value.to_string())
        }
        fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
            Self::parse(value)
        }
    }
    deserializer.deserialize_any(Digits(PhantomData))
}
