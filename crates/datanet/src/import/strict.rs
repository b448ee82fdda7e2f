//! JSON without forgiveness: what two readers could understand differently is refused.
//!
//! `serde_json` checks the grammar and lone surrogates; this adds duplicate keys, NUL characters,
//! depth, and whole numbers that would be kept as other numbers. **Not here:** what the fields mean
//! (`rules`).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::problem::ProblemReason;

/// Reads one JSON value. The error carries the byte in the line, from 1.
pub(super) fn read(line: &str, depth: usize) -> Result<Value, (u64, ProblemReason)> {
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(line);
    let read = Strict { left: depth, limit: depth, fault: &fault }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let column = error.column().max(1) as u64;
        let reason = fault.take().unwrap_or_else(|| {
            if error.is_eof() {
                return ProblemReason::Truncated;
            }
            // The parser ends its message with "at line 1 column n", which the problem says itself.
            let message = error.to_string();
            let cut = message.rfind(" at line ").unwrap_or(message.len());
            ProblemReason::Json { message: message[..cut].to_owned() }
        });
        (column, reason)
    })
}

#[derive(Clone, Copy)]
struct Strict<'f> {
    left: usize,
    limit: usize,
    fault: &'f Cell<Option<ProblemReason>>,
}

impl Strict<'_> {
    /// Keeps the typed reason aside: serde's errors carry only text.
    fn fail<T, E: Error>(self, reason: ProblemReason) -> Result<T, E> {
        let text = reason.to_string();
        self.fault.set(Some(reason));
        Err(E::custom(text))
    }

    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => self.fail(ProblemReason::TooDeep { limit: self.limit }),
        }
    }

    fn text<E: Error>(self, text: String) -> Result<String, E> {
        if text.contains('\0') { self.fail(ProblemReason::Nul) } else { Ok(text) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // From 2^64 on a float has no fraction: it was a whole number that lost digits, or is
        // written like one.
        const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;
        match Number::from_f64(value) {
            Some(number) if value.abs() < BEYOND_U64 => Ok(Value::Number(number)),
            _ => self.fail(ProblemReason::NumberTooLarge),
        }
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.text(value).map(Value::String)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let key = self.text(key)?;
            if map.contains_key(&key) {
                return self.fail(ProblemReason::DuplicateKey { key });
            }
            let value = members.next_value_seed(inner)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// What a value is, for people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(read(line, 4).map_err(|(_, reason)| reason.code()).unwrap_err(), expected, "{line}");
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        check(r#"{"a": 1, "a": 2}"#, "duplicate-key");
        check(r#"{"a": {"b": 1, "b": 2}}"#, "duplicate-key");
        check(r#"{"a": "\ud800"}"#, "malformed-json");
        check(r#"{"a": "\udc00x"}"#, "malformed-json");
        check(r#"{"a": "\u0000"}"#, "nul");
        check(r#"{"\u0000": 1}"#, "nul");
        check(r#"{"a": 1e400}"#, "malformed-json");
        check(r#"{"a": 18446744073709551616}"#, "number-too-large");
        check(r#"{"a": NaN}"#, "malformed-json");
        check(r#"{"a": 1,}"#, "malformed-json");
        check(r#"{"a": 1} // why"#, "malformed-json");
        check(r#"{"a": [1"#, "truncated");
    }

    #[test]
    fn depth_is_counted_from_the_record() {
        assert!(read("[[[[1]]]]", 4).is_ok());
        check("[[[[[1]]]]]", "too-deep");
        check(&"[".repeat(100_000), "too-deep");
    }

    #[test]
    fn numbers_of_64_bits_are_kept() {
        let line = "[18446744073709551615,-9223372036854775808,0.5]";
        assert_eq!(read(line, 4).unwrap().to_string(), line);
    }

    #[test]
    fn the_column_is_where_the_fault_is() {
        let (column, _) = read(r#"{"a": 1, "b": x}"#, 4).unwrap_err();
        assert_eq!(column, 15);
    }
}
